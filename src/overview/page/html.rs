//! What all pages are made of.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::colours::{hex, series, style};
use crate::overview::table::{Cell, Format, Table};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// Nothing is loaded from anywhere.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'";

/// By what a page is known as ours.
pub const GENERATOR: &str = concat!("platon ", env!("CARGO_PKG_VERSION"));

/// A whole page, whose pictures have at most so many curves.
pub fn document(title: &str, curves: usize, body: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="generator" content=(GENERATOR);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                title { (title) }
                style { (PreEscaped(STYLE)) (PreEscaped(style(curves))) }
            }
            body {
                (body)
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string()
}

/// A picture with its title, what there is to say about it, and its numbers.
pub struct Figure<'a> {
    /// Its title.
    pub title: &'a str,
    /// What there is to say.
    pub notes: Vec<String>,
    /// The picture.
    pub svg: String,
    /// The names of its curves; none where one alone needs no name.
    pub legend: Vec<String>,
    /// What it shows.
    pub numbers: Table,
}

impl Figure<'_> {
    /// As HTML.
    pub fn html(&self) -> Markup {
        html! {
            figure {
                figcaption {
                    (self.title)
                    @for note in &self.notes { p { (note) } }
                }
                @if self.legend.len() > 1 { (legend(&self.legend)) }
                div.picture { (PreEscaped(&self.svg)) }
                details.numbers {
                    summary { "Numbers" }
                    (copied(&self.numbers.text(Format::Csv), "Copy as CSV"))
                }
            }
        }
    }
}

/// The curves' names, each with a box to hide it.
pub fn legend(names: &[String]) -> Markup {
    html! {
        ul.legend {
            @for (n, name) in names.iter().enumerate() {
                @let colour = hex(series(n));
                li {
                    label {
                        input type="checkbox" checked data-colour=(colour);
                        svg viewBox="0 0 26 10" aria-hidden="true" {
                            line x1="0" y1="5" x2="26" y2="5" stroke=(colour) stroke-width="2.5" {}
                        }
                        (name)
                    }
                }
            }
        }
    }
}

/// A block of text to be copied.
pub fn copied(text: &str, button: &str) -> Markup {
    html! {
        div {
            button.copy type="button" { (button) }
            pre tabindex="0" { (text) }
        }
    }
}

/// A table.
pub fn table(table: &Table) -> Markup {
    let is_number = |n: usize| table.rows.iter().any(|row| row.get(n).is_some_and(Cell::is_number));
    let class = |n: usize| is_number(n).then_some("number");
    html! {
        div.scroll tabindex="0" {
            table {
                thead { tr { @for (n, name) in table.head.iter().enumerate() { th scope="col" class=[class(n)] { (name) } } } }
                tbody {
                    @for row in &table.rows {
                        tr { @for (n, cell) in row.iter().enumerate() { td class=[class(n)] { (cell.shown()) } } }
                    }
                }
            }
        }
    }
}

/// Figures beside each other, as many as there is room for.
pub fn grid(figures: &[Markup]) -> Markup {
    html! { div.grid { @for figure in figures { (figure) } } }
}

/// Names with values in large letters.
pub fn tiles(tiles: &[(String, String)]) -> Markup {
    html! {
        dl.tiles {
            @for (name, value) in tiles { div { dt { (name) } dd { (value) } } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_put_in_becomes_markup() {
        let evil = "</pre><script>alert(1)</script>\"'&".to_string();
        let numbers =
            Table { head: vec![evil.clone()], rows: vec![vec![Cell::Text(evil.clone())]] };
        let parts = [
            table(&numbers),
            legend(&[evil.clone(), evil.clone()]),
            copied(&evil, "Copy"),
            tiles(&[(evil.clone(), evil.clone())]),
        ];
        for part in &parts {
            assert!(!part.0.contains("<script"), "{}", part.0);
        }
        let figure = Figure {
            title: &evil,
            notes: vec![evil.clone()],
            svg: "<svg/>".into(),
            legend: vec![],
            numbers,
        };
        let page = document(&evil, 1, &figure.html());
        // That of the page itself.
        assert_eq!(page.matches("<script").count(), 1);
        assert!(page.contains("<svg/>") && page.contains("prefers-color-scheme"));
        for outside in ["http:", "https:", "src=", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
    }
}

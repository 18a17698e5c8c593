//! Drawing with plotters.

use maud::html;
use plotters::coord::Shift;
use plotters::prelude::{DrawingArea, IntoDrawingArea, SVGBackend};

use crate::error::{Error, Result};

/// What plotters says where it cannot draw.
pub type Drawn = std::result::Result<(), Box<dyn std::error::Error>>;

/// An SVG of so many units in width and height, with a text for those who do not see it.
///
/// # Errors
/// It cannot be drawn.
pub fn draw(
    size: (u32, u32),
    label: &str,
    with: impl FnOnce(&DrawingArea<SVGBackend, Shift>) -> Drawn,
) -> Result<String> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        let drawn = with(&root);
        drawn.and_then(|()| Ok(root.present()?)).map_err(|e| {
            Error::run(format!("a picture cannot be drawn: {e}"))
                .hint("this is a bug; please report it")
        })?;
    }
    let label = html! { (label) }.into_string();
    Ok(svg.replacen("<svg ", &format!("<svg role=\"img\" aria-label=\"{label}\" "), 1))
}

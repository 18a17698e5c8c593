//! What is answered: labels with scores, in the form of Hugging Face's API.

use serde::Serialize;

use super::request::Ask;
use crate::bert::HeadSettings;
use crate::infer::answer::Function;

/// A label and its score.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Scored<'a> {
    label: &'a str,
    score: f32,
}

/// The labels of each text, from the highest score to the lowest, of its logits.
///
/// Its form is a list for each text even where there is only one: the API's own clients take the
/// first of them.
pub fn scored<'a>(head: &'a HeadSettings, ask: &Ask, logits: &[Vec<f32>]) -> Vec<Vec<Scored<'a>>> {
    let function = ask.function.unwrap_or(Function::of(head.problem));
    let labels = |row: &Vec<f32>| {
        let scores = head.labels.iter().zip(function.scores(row));
        let mut scored: Vec<_> = scores.map(|(label, score)| Scored { label, score }).collect();
        // Labels of one score stay in their order.
        scored.sort_by(|a, b| b.score.total_cmp(&a.score));
        scored.truncate(ask.top_k.unwrap_or(usize::MAX));
        scored
    };
    logits.iter().map(labels).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn answer(head: &HeadSettings, body: &str, logits: &[Vec<f32>]) -> Value {
        let ask = Ask::read(body.as_bytes(), 8, None).unwrap();
        let text = serde_json::to_string(&scored(head, &ask, logits)).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn classes_come_from_the_likeliest_on_and_as_many_as_wanted() {
        let head = HeadSettings::new(&["no", "yes", "maybe"], 0.0);
        // Probabilities 1/8, 5/8 and 1/4.
        let logits = [vec![1_f32.ln(), 5_f32.ln(), 2_f32.ln()]];
        let found = answer(&head, r#"{"inputs": "a"}"#, &logits);
        let first =
            |n: usize| (found[0][n]["label"].clone(), found[0][n]["score"].as_f64().unwrap());
        for (n, (label, score)) in
            [("yes", 0.625), ("maybe", 0.25), ("no", 0.125)].into_iter().enumerate()
        {
            assert_eq!(first(n).0, label);
            assert!((first(n).1 - score).abs() < 1e-6, "{found}");
        }
        let two = answer(&head, r#"{"inputs": "a", "parameters": {"top_k": 2}}"#, &logits);
        assert_eq!(two, json!([[found[0][0], found[0][1]]]));
    }

    #[test]
    fn a_value_is_answered_as_it_is_and_one_list_for_each_text() {
        let head = HeadSettings::new(&[], 0.0);
        let logits = [vec![4.25], vec![-0.5]];
        let found = answer(&head, r#"{"inputs": ["a", "b"]}"#, &logits);
        let of = |score: f64| json!([{"label": "LABEL_0", "score": score}]);
        assert_eq!(found, json!([of(4.25), of(-0.5)]));
    }

    #[test]
    fn another_function_may_be_asked_for() {
        let head = HeadSettings::new(&["no", "yes"], 0.0);
        let ask = |function: &str| {
            let body = json!({"inputs": "a", "parameters": {"function_to_apply": function}});
            answer(&head, &body.to_string(), &[vec![0.0, 3_f32.ln()]])
        };
        let scores = |found: &Value| [0, 1].map(|n| found[0][n]["score"].as_f64().unwrap());
        let [yes, no] = scores(&ask("sigmoid"));
        assert!((yes - 0.75).abs() < 1e-6 && (no - 0.5).abs() < 1e-6);
        let [yes, no] = scores(&ask("none"));
        assert!((yes - 3_f64.ln()).abs() < 1e-6 && no == 0.0);
    }
}

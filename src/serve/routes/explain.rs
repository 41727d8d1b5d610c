//! `POST /explain`: the words that spoke for the label of a text. The weight of a word is the
//! probability of the label, minus that of the text without the word (leave-one-out).

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use serde_json::{Value, json};
use stages::data::example::Example;
use stages::data::prediction::Prediction;
use stages::data::target::Target;

use crate::serve::refusal::{Kind, Refusal};
use crate::serve::reply;
use crate::serve::request::{Fields, body};
use crate::serve::service::{Asked, Service};
use crate::serve::settings::Settings;
use crate::serve::texts::{GivenText, GivenTexts};

/// A word, and the white space after it. What stands before the first word is one as well.
type Word = String;

pub async fn answer(
    State(service): State<Arc<Service>>,
    request: Request,
) -> Result<Response, Refusal> {
    let body = body(request, &service.settings).await?;
    let limits = Arc::clone(&service);
    let answered = service.answer(body, move |fields| read(fields, &limits.settings)).await?;
    let classifier = &answered.model.classifier;
    let mut all = answered.scores.iter().map(|scores| classifier.decide(String::new(), scores));
    let whole = all.next().ok_or_else(|| Refusal::new(Kind::Model, "there are no scores"))?;
    let label = explained(&whole);
    let value = |of: &Prediction| match (&of.label, label) {
        (Target::Number(number), _) => *number,
        (_, Some(label)) => of.probabilities.get(label).copied().unwrap_or_default(),
        _ => 0.0,
    };
    let weight = |word: &Word, without: Prediction| {
        let weight = value(&whole) - value(&without);
        json!({ "text": word, "weight": weight })
    };
    let words = answered.rest.iter().zip(all).map(|(word, without)| weight(word, without));
    Ok(reply::json(&json!({
        "label": whole.label,
        "probabilities": whole.probabilities,
        "explained": label,
        "words": words.collect::<Vec<Value>>(),
    })))
}

/// The label whose probability the weights are about: the predicted one, or the likeliest of
/// several; `None` if the model gives a number.
fn explained(of: &Prediction) -> Option<&String> {
    match &of.label {
        Target::Label(label) => Some(label),
        Target::Labels(_) => {
            let likeliest = of.probabilities.iter().max_by(|one, other| one.1.total_cmp(other.1));
            likeliest.map(|(label, _)| label)
        }
        Target::Number(_) => None,
    }
}

/// The text, and then the text without each of its words.
fn read(mut fields: Fields, settings: &Settings) -> Result<Asked<Vec<Word>>, Refusal> {
    let given = fields.need("inputs")?;
    fields.end()?;
    if given.is_array() {
        return Err(Refusal::new(Kind::Shape, "`inputs`: expected one text, found a list"));
    }
    let mut texts = GivenTexts::of_classify(given)?;
    let whole = match texts.texts.first() {
        Some(GivenText::Text(example)) => example.clone(),
        _ => Example::default(),
    };
    let words = words(&whole.text);
    // Before there is a copy of the text for each.
    settings.check_count(words.len() + 1, "texts, the whole one and one without each word")?;
    for (at, word) in words.iter().enumerate() {
        let before: usize = words[..at].iter().map(String::len).sum();
        let text = format!("{}{}", &whole.text[..before], &whole.text[before + word.len()..]);
        texts.texts.push(GivenText::Text(Example { text, ..whole.clone() }));
    }
    Ok(Asked { texts, refuses_long: false, cut_side: None, rest: words })
}

/// The words of a text, which together are the text.
fn words(text: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut start = 0;
    let mut was_space = false;
    for (at, character) in text.char_indices() {
        if was_space && !character.is_whitespace() {
            words.push(text[start..at].to_owned());
            start = at;
        }
        was_space = character.is_whitespace();
    }
    if start < text.len() {
        words.push(text[start..].to_owned());
    }
    words
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn words_together_are_the_text() {
        assert_eq!(words("so  tired\nof it "), ["so  ", "tired\n", "of ", "it "]);
        assert_eq!(words("  ä 🎉"), ["  ", "ä ", "🎉"]);
        assert_eq!(words(""), Vec::<String>::new());
    }
}

//! The texts of a request, in the forms that clients send.

use serde_json::Value;
use stages::data::example::Example;

use crate::serve::model::ServedModel;
use crate::serve::refusal::{Kind, Refusal};
use crate::serve::request::{Fields, string, unexpected};

/// A text of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum GivenText {
    /// With the turns of the conversation before it.
    Text(Example),
    /// Two segments, in this order.
    Pair(String, String),
}

/// The texts of a request, and whether it was one rather than a list.
#[derive(Clone, Debug, PartialEq)]
pub struct GivenTexts {
    pub texts: Vec<GivenText>,
    pub is_one: bool,
}

const PAIR: &str = "a string or a pair of strings";

impl GivenTexts {
    /// As Text Embeddings Inference reads `inputs`: a string; a list of one or two strings, which is
    /// one text or one pair; or a list of those lists.
    pub fn of_predict(value: Value) -> Result<GivenTexts, Refusal> {
        match value {
            Value::String(text) => Ok(one(GivenText::of(text))),
            Value::Array(list) if list.first().is_some_and(Value::is_array) => {
                let each = list.into_iter().enumerate();
                let each = each.map(|(at, value)| match value {
                    Value::Array(list) => strings(list, &format!("inputs[{at}]")),
                    other => Err(unexpected(&format!("`inputs[{at}]`"), "a list", &other)),
                });
                many(each)
            }
            Value::Array(list) if list.is_empty() => Err(nothing()),
            Value::Array(list) => Ok(one(strings(list, "inputs")?)),
            other => Err(unexpected("`inputs`", "a string or a list", &other)),
        }
    }

    /// As the pipelines of `transformers` and the hub read `inputs`: a string, an object with `text`
    /// and perhaps `text_pair`, or a list of those.
    pub fn of_hub(value: Value) -> Result<GivenTexts, Refusal> {
        let single = |value: Value, place: &str| match value {
            Value::String(text) => Ok(GivenText::of(text)),
            Value::Object(_) => {
                let mut fields = Fields::of(value, place)?;
                let text = string(fields.need("text")?, &fields.place("text"))?;
                let second = fields.text("text_pair")?;
                fields.end()?;
                Ok(match second {
                    Some(second) => GivenText::Pair(text, second),
                    None => GivenText::of(text),
                })
            }
            other => Err(unexpected(&format!("`{place}`"), "a string or an object", &other)),
        };
        Self::each(value, single)
    }

    /// A string, an object with `text` and perhaps `context` (a list, oldest turn first) and `id`, or
    /// a list of those.
    pub fn of_classify(value: Value) -> Result<GivenTexts, Refusal> {
        let single = |value: Value, place: &str| match value {
            Value::String(text) => Ok(GivenText::of(text)),
            Value::Object(_) => {
                let mut fields = Fields::of(value, place)?;
                let text = string(fields.need("text")?, &fields.place("text"))?;
                let id = fields.text("id")?.unwrap_or_default();
                let turns = fields.place("context");
                let context = match fields.take("context") {
                    None => Vec::new(),
                    Some(Value::Array(list)) => {
                        let turn = |(at, value)| string(value, &format!("{turns}[{at}]"));
                        list.into_iter().enumerate().map(turn).collect::<Result<_, _>>()?
                    }
                    Some(other) => {
                        return Err(unexpected(&format!("`{turns}`"), "a list of strings", &other));
                    }
                };
                fields.end()?;
                Ok(GivenText::Text(Example { id, text, context, ..Example::default() }))
            }
            other => Err(unexpected(&format!("`{place}`"), "a string or an object", &other)),
        };
        Self::each(value, single)
    }

    fn each(
        value: Value,
        single: impl Fn(Value, &str) -> Result<GivenText, Refusal>,
    ) -> Result<GivenTexts, Refusal> {
        match value {
            Value::Array(list) => {
                let each = list.into_iter().enumerate();
                many(each.map(|(at, value)| single(value, &format!("inputs[{at}]"))))
            }
            value => Ok(one(single(value, "inputs")?)),
        }
    }

    /// Where a text is in the request.
    pub fn place(&self, index: usize) -> String {
        if self.is_one { "inputs".to_owned() } else { format!("inputs[{index}]") }
    }
}

impl GivenText {
    fn of(text: String) -> GivenText {
        GivenText::Text(Example { text, ..Example::default() })
    }

    /// The example that this is for a model: a pair is a text with its context, which are in the
    /// order in which the model reads them.
    ///
    /// # Errors
    /// The model would not see the context.
    pub fn example(self, model: &ServedModel, place: &str) -> Result<Example, Refusal> {
        let example = match self {
            GivenText::Text(example) => example,
            GivenText::Pair(first, second) => {
                let (text, context) = match model.classifier.reads_text_first() {
                    true => (first, second),
                    false => (second, first),
                };
                Example { text, context: vec![context], ..Example::default() }
            }
        };
        if model.turns == Some(0) && !example.context.is_empty() {
            let problem = format!(
                "`{place}`: the model reads no context, because its `tokenize` has `context: 0`"
            );
            return Err(Refusal::new(Kind::Shape, problem));
        }
        Ok(example)
    }
}

fn one(text: GivenText) -> GivenTexts {
    GivenTexts { texts: vec![text], is_one: true }
}

fn many(texts: impl Iterator<Item = Result<GivenText, Refusal>>) -> Result<GivenTexts, Refusal> {
    let texts: Vec<GivenText> = texts.collect::<Result<_, _>>()?;
    if texts.is_empty() { Err(nothing()) } else { Ok(GivenTexts { texts, is_one: false }) }
}

fn nothing() -> Refusal {
    Refusal::new(Kind::Empty, "`inputs` is empty: there is nothing to classify")
}

/// A text from a list of one string, a pair from a list of two.
fn strings(list: Vec<Value>, place: &str) -> Result<GivenText, Refusal> {
    if list.is_empty() || list.len() > 2 {
        let problem = format!("`{place}`: expected {PAIR}, found a list of {}", list.len());
        return Err(Refusal::new(Kind::Shape, problem));
    }
    let each = list.into_iter().enumerate();
    let each = each.map(|(at, value)| string(value, &format!("{place}[{at}]")));
    let mut strings = each.collect::<Result<Vec<String>, _>>()?.into_iter();
    let first = strings.next().unwrap_or_default();
    Ok(match strings.next() {
        Some(second) => GivenText::Pair(first, second),
        None => GivenText::of(first),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(text: &str) -> GivenText {
        GivenText::of(text.to_owned())
    }

    fn pair(first: &str, second: &str) -> GivenText {
        GivenText::Pair(first.to_owned(), second.to_owned())
    }

    #[test]
    fn predict_reads_inputs_as_text_embeddings_inference_does() {
        let read = |value| GivenTexts::of_predict(value).unwrap();
        let is_one = |text| GivenTexts { texts: vec![text], is_one: true };
        assert_eq!(read(json!("a")), is_one(text("a")));
        assert_eq!(read(json!(["a"])), is_one(text("a")));
        assert_eq!(read(json!(["a", "b"])), is_one(pair("a", "b")));
        let list = GivenTexts { texts: vec![text("a"), pair("b", "c")], is_one: false };
        assert_eq!(read(json!([["a"], ["b", "c"]])), list);
        let refused = |value| GivenTexts::of_predict(value).unwrap_err().problem;
        assert_eq!(refused(json!(1)), "`inputs`: expected a string or a list, found a number");
        assert_eq!(
            refused(json!(["a", "b", "c"])),
            "`inputs`: expected a string or a pair of strings, found a list of 3"
        );
        assert_eq!(refused(json!([["a"], "b"])), "`inputs[1]`: expected a list, found a string");
        assert_eq!(refused(json!([["a", 1]])), "`inputs[0][1]`: expected a string, found a number");
        assert_eq!(GivenTexts::of_predict(json!([])).unwrap_err().kind, Kind::Empty);
    }

    #[test]
    fn the_hub_reads_a_list_of_strings_as_a_list_of_texts() {
        let read = |value| GivenTexts::of_hub(value).unwrap();
        let list = |texts| GivenTexts { texts, is_one: false };
        assert_eq!(read(json!(["a", "b"])), list(vec![text("a"), text("b")]));
        let objects = json!([{"text": "a", "text_pair": "b"}, {"text": "c"}, "d"]);
        assert_eq!(read(objects), list(vec![pair("a", "b"), text("c"), text("d")]));
        assert_eq!(read(json!("a")), one(text("a")));
        let refused = |value| GivenTexts::of_hub(value).unwrap_err().problem;
        assert_eq!(
            refused(json!([{"text": "a", "text_pare": "b"}])),
            "there is no field `inputs[0].text_pare`; did you mean `text_pair`?"
        );
        assert_eq!(refused(json!([{}])), "there is no field `inputs[0].text`");
    }

    #[test]
    fn classify_reads_contexts_and_ids() {
        let value = json!([{"id": "7", "text": "a", "context": ["b", "c"]}]);
        let context = vec!["b".to_owned(), "c".to_owned()];
        let (id, text) = ("7".to_owned(), "a".to_owned());
        let expected = Example { id, text, context, ..Example::default() };
        let found = GivenTexts::of_classify(value).unwrap();
        assert_eq!(found, GivenTexts { texts: vec![GivenText::Text(expected)], is_one: false });
        let value = json!({"text": "a", "context": ["b", 2]});
        let refused = GivenTexts::of_classify(value).unwrap_err().problem;
        assert_eq!(refused, "`inputs.context[1]`: expected a string, found a number");
    }
}

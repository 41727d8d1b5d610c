//! Examples with their predictions, in their conversations. Texts consist of spans, which may have a
//! weight.

use crate::report::data::{GivenAnswer, ListedExample, Span, Wrong};
use crate::report::html::{Html, tag};
use crate::report::sections::paragraph;
use crate::text::figures::grouped;

/// The number of shades for weights, on either side of 0.
const SHADES: f64 = 4.0;

/// The list of examples; all but the first few are collapsed.
pub fn examples(wrong: &Wrong, what: &str) -> Html {
    ordered(wrong, what, "with the highest confidence")
}

/// The examples whose numbers are furthest from the true ones.
pub fn furthest(wrong: &Wrong) -> Html {
    ordered(wrong, "not exactly right", "furthest from the true number")
}

/// `order` says which come first.
fn ordered(wrong: &Wrong, what: &str, order: &str) -> Html {
    const OPEN: usize = 5;
    if wrong.examples.is_empty() {
        return paragraph("note", &format!("No example is {what}.")).into();
    }
    let shown = wrong.examples.len() as u64;
    let words = match shown < wrong.rows {
        true => format!("{} are {what}; these are the {shown} {order}.", grouped(wrong.rows)),
        false => {
            format!("{} {what}, those {order} first.", grouped(wrong.rows))
        }
    };
    let mut all = Html::from(paragraph("quiet", &words));
    let (open, folded) = wrong.examples.split_at(wrong.examples.len().min(OPEN));
    all.push(tag("ol").class("examples").children(open.iter().map(example)));
    if !folded.is_empty() {
        let list = tag("ol")
            .class("examples")
            .attr("start", open.len() + 1)
            .children(folded.iter().map(example));
        let summary = tag("summary").text(format!("{} more", folded.len()));
        all.push(tag("details").class("more").child(summary).child(list));
    }
    all
}

fn example(example: &ListedExample) -> Html {
    let mut said = Html::new();
    for (index, it) in example.said.iter().enumerate() {
        if index > 0 {
            said.push(tag("span").class("quiet").text(" → "));
        }
        said.push(prediction(it, &example.gold));
    }
    let head = tag("p")
        .class("said")
        .child(tag("span").class("quiet").text("predicted "))
        .child(said)
        .child(tag("span").class("quiet").text(" · true "))
        .child(tag("b").text(&example.gold))
        .child(tag("code").class("id").text(&example.id));
    let turns =
        example.context.iter().map(|turn| tag("p").class("turn").attr("dir", "auto").text(turn));
    let context = match example.context.is_empty() {
        true => Html::new(),
        false => {
            let label = "Earlier turns of the conversation";
            tag("div")
                .class("context")
                .attr("role", "group")
                .attr("aria-label", label)
                .children(turns)
                .into()
        }
    };
    let text: Html = match &example.text {
        Some(spans) => {
            tag("p").class("text").attr("dir", "auto").children(spans.iter().map(span)).into()
        }
        None => paragraph("note", "The text is not in the cache.").into(),
    };
    tag("li").child(head).child(context).child(text).into()
}

fn prediction(said: &GivenAnswer, gold: &str) -> Html {
    let class = if said.label == gold { "right" } else { "wrong" };
    let mut words = Html::from(tag("b").class(class).text(&said.label));
    if let Some(probability) = said.probability {
        words.push(tag("span").class("number").text(format!(" {probability:.3}")));
    }
    words
}

/// A span with a weight is marked; without one it is plain text.
fn span(span: &Span) -> Html {
    let Some(weight) = span.weight else { return Html::text(&span.text) };
    let shade = (weight.abs().min(1.0) * SHADES).round();
    let side = if weight < 0.0 { "against" } else { "for" };
    tag("mark")
        .class(&format!("{side} w{shade:.0}"))
        .attr("title", format!("weight {weight:.2}"))
        .text(&span.text)
        .into()
}

#[cfg(test)]
mod tests {
    use super::span;
    use crate::report::data::Span;

    #[test]
    fn a_weight_marks_its_span() {
        let of = |weight| span(&Span { text: "<b>".to_owned(), weight }).into_text();
        assert_eq!(of(None), "&lt;b&gt;");
        let marked = "<mark class=\"against w2\" title=\"weight -0.50\">&lt;b&gt;</mark>";
        assert_eq!(of(Some(-0.5)), marked);
    }
}

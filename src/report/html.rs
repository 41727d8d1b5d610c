//! Markup that cannot contain unescaped text by mistake. [`Html`] is made from literals of this
//! program, from text, which is escaped, and from other `Html`, but never from a `String` as it is.
//! Whatever a user wrote, such as a label, the name of a stage or a parameter, stays text.

use std::fmt::{Display, Write};

/// A fragment of HTML or SVG that consists of complete elements.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Html(String);

/// An element under construction; [`Html::from`] closes it.
#[derive(Clone, Debug)]
pub struct Tag {
    name: &'static str,
    /// `<name a="b"`, without the `>`.
    open: String,
    content: String,
}

/// Elements without content and end tag.
const VOID: [&str; 2] = ["meta", "br"];

impl Html {
    pub fn new() -> Html {
        Html::default()
    }

    /// Text, escaped.
    pub fn text(text: impl Display) -> Html {
        Html(escaped(&text.to_string()))
    }

    /// Markup from a literal of this program.
    pub fn literal(markup: &'static str) -> Html {
        Html(markup.to_owned())
    }

    pub fn push(&mut self, more: impl Into<Html>) {
        self.0.push_str(&more.into().0);
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn into_text(self) -> String {
        self.0
    }
}

impl From<Tag> for Html {
    fn from(tag: Tag) -> Html {
        let Tag { name, mut open, content } = tag;
        open.push('>');
        if !VOID.contains(&name) {
            let _ = write!(open, "{content}</{name}>");
        }
        Html(open)
    }
}

impl<H: Into<Html>> FromIterator<H> for Html {
    fn from_iter<I: IntoIterator<Item = H>>(pieces: I) -> Html {
        let mut all = Html::new();
        pieces.into_iter().for_each(|piece| all.push(piece));
        all
    }
}

/// Begins an element.
pub fn tag(name: &'static str) -> Tag {
    Tag { name, open: format!("<{name}"), content: String::new() }
}

impl Tag {
    pub fn attr(mut self, name: &'static str, value: impl Display) -> Tag {
        let _ = write!(self.open, " {name}=\"{}\"", escaped(&value.to_string()));
        self
    }

    /// A length or coordinate of a drawing, to a tenth of a pixel.
    pub fn px(self, name: &'static str, value: f64) -> Tag {
        self.attr(name, px(value))
    }

    pub fn class(self, classes: &str) -> Tag {
        self.attr("class", classes)
    }

    /// An attribute without a value.
    pub fn flag(mut self, name: &'static str) -> Tag {
        let _ = write!(self.open, " {name}");
        self
    }

    /// Appends text, escaped.
    pub fn text(mut self, text: impl Display) -> Tag {
        self.content.push_str(&escaped(&text.to_string()));
        self
    }

    pub fn child(mut self, child: impl Into<Html>) -> Tag {
        self.content.push_str(&child.into().0);
        self
    }

    pub fn children<H: Into<Html>>(self, children: impl IntoIterator<Item = H>) -> Tag {
        children.into_iter().fold(self, Tag::child)
    }

    /// Appends the child, if there is one.
    pub fn maybe(self, child: Option<impl Into<Html>>) -> Tag {
        match child {
            Some(child) => self.child(child),
            None => self,
        }
    }
}

/// A coordinate of a drawing: `12.5`, `7`.
pub fn px(value: f64) -> String {
    let text = format!("{value:.1}");
    match text.strip_suffix(".0") {
        Some("-0") => "0".to_owned(),
        Some(whole) => whole.to_owned(),
        None => text,
    }
}

/// Escapes text for use between tags and in quoted attributes. Control characters, which HTML does
/// not allow, become their control pictures or the replacement character.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len() + text.len() / 8);
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\n' | '\t' => safe.push(character),
            '\u{0}'..='\u{1f}' => {
                safe.extend(char::from_u32(0x2400 + u32::from(character)));
            }
            // Direction overrides could make a line read as something else.
            '\u{7f}'..='\u{9f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
            | '\u{fffe}'
            | '\u{ffff}' => safe.push('\u{fffd}'),
            _ => safe.push(character),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::{Html, px, tag};

    #[test]
    fn text_is_never_markup() {
        let evil = "</style><script>alert('x')</script>\" & \u{0}\u{1b}[2J\u{85}\u{202e}";
        let made = Html::from(tag("p").attr("title", evil).text(evil)).into_text();
        let safe = "&lt;/style&gt;&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&quot; &amp; ␀␛[2J\u{fffd}\u{fffd}";
        assert_eq!(made, format!("<p title=\"{safe}\">{safe}</p>"));
    }

    #[test]
    fn elements_nest_and_close() {
        let list = tag("ul").children(["a", "b"].map(|it| tag("li").text(it)));
        assert_eq!(Html::from(list).into_text(), "<ul><li>a</li><li>b</li></ul>");
        let meta = tag("meta").attr("name", "x").flag("hidden");
        assert_eq!(Html::from(meta).into_text(), "<meta name=\"x\" hidden>");
    }

    #[test]
    fn places_are_short() {
        assert_eq!([12.0, 12.34, -0.01, 0.06].map(px).join(" "), "12 12.3 0 0.1");
    }
}

//! A page parsed into elements, strictly: anything that is not well-formed fails.

/// The name of an element with its attributes, or text.
#[derive(Debug)]
enum Piece {
    Open(String, Vec<(String, String)>),
    Close(String),
    Text(String),
}

pub struct Page {
    text: String,
    pieces: Vec<Piece>,
}

const VOID: [&str; 2] = ["meta", "br"];

impl Page {
    /// Fails unless elements are closed in order and every attribute is quoted.
    #[track_caller]
    pub fn parse(text: String) -> Page {
        let mut rest = text.strip_prefix("<!doctype html>\n").expect("a doctype first");
        let (mut pieces, mut open) = (Vec::new(), Vec::<String>::new());
        while !rest.is_empty() {
            // The content of these two elements is not markup.
            if let Some(raw) = open.last().filter(|it| ["style", "script"].contains(&it.as_str())) {
                let end = rest.find(&format!("</{raw}>")).expect("an end");
                rest = &rest[end..];
            }
            if let Some(tag) = rest.strip_prefix("</") {
                let (name, after) = tag.split_once('>').expect("an end of a tag");
                assert_eq!(open.pop().as_deref(), Some(name), "closed in its order");
                pieces.push(Piece::Close(name.to_owned()));
                rest = after;
            } else if let Some(tag) = rest.strip_prefix('<') {
                let (name, attributes, after) = tag_of(tag);
                if !VOID.contains(&name.as_str()) {
                    open.push(name.clone());
                }
                pieces.push(Piece::Open(name, attributes));
                rest = after;
            } else {
                let end = rest.find('<').unwrap_or(rest.len());
                pieces.push(Piece::Text(unescaped(&rest[..end])));
                rest = &rest[end..];
            }
        }
        assert_eq!(open, Vec::<String>::new(), "all is closed");
        Page { text, pieces }
    }

    /// Asserts that nothing is loaded, no attribute holds style or script, the policy allows neither,
    /// and every chart has a title and a description.
    #[track_caller]
    pub fn expect_self_contained(&self) {
        assert!(self.text.contains("content=\"default-src &#39;none&#39;; style-src &#39;sha256-"));
        for piece in &self.pieces {
            let Piece::Open(name, attributes) = piece else { continue };
            assert!(!["img", "link", "iframe", "object", "use", "image"].contains(&name.as_str()));
            for (attribute, value) in attributes {
                assert!(!attribute.starts_with("on") && attribute != "style", "{name} {attribute}");
                assert!(!["src", "srcset", "xlink:href"].contains(&attribute.as_str()), "{name}");
                assert!(attribute != "href" || value.starts_with('#'), "{value}");
            }
        }
        let drawings = self.pieces.iter().enumerate().filter(|(_, piece)| is_drawing(piece));
        for (place, _) in drawings {
            let next: Vec<&str> =
                self.pieces[place + 1..place + 6].iter().filter_map(opened).collect();
            assert_eq!(next, ["title", "desc"], "{:?}", self.pieces[place]);
        }
        let ids: Vec<&str> = self.attributes("id").collect();
        let unique: std::collections::BTreeSet<&&str> = ids.iter().collect();
        assert_eq!(unique.len(), ids.len(), "every id once");
        for reference in ["aria-labelledby", "aria-describedby"] {
            assert!(self.attributes(reference).all(|id| ids.contains(&id)), "{reference}");
        }
    }

    fn attributes<'p>(&'p self, wanted: &'p str) -> impl Iterator<Item = &'p str> {
        let all = self.pieces.iter().filter_map(|piece| match piece {
            Piece::Open(_, attributes) => Some(attributes),
            _ => None,
        });
        all.flatten().filter(move |(name, _)| name == wanted).map(|(_, value)| value.as_str())
    }

    pub fn count(&self, name: &str) -> usize {
        self.pieces.iter().filter(|piece| opened(piece) == Some(name)).count()
    }

    pub fn with_attribute(&self, name: &str, attribute: &str) -> usize {
        let has = |piece: &&Piece| match piece {
            Piece::Open(it, attributes) => {
                it == name && attributes.iter().any(|it| it.0 == attribute)
            }
            _ => false,
        };
        self.pieces.iter().filter(has).count()
    }

    /// The text of each element of that name.
    pub fn texts(&self, name: &str) -> Vec<String> {
        let starts = self.pieces.iter().enumerate().filter(|(_, it)| opened(it) == Some(name));
        let inside = starts.map(|(place, _)| {
            let rest = self.pieces[place + 1..].iter();
            let inside =
                rest.take_while(|it| !matches!(it, Piece::Close(closed) if closed == name));
            inside.filter_map(text_of).collect::<String>()
        });
        inside.collect()
    }

    pub fn chart_titles(&self) -> Vec<String> {
        let drawings = self.pieces.iter().enumerate().filter(|(_, piece)| is_drawing(piece));
        let title = drawings.map(|(place, _)| self.pieces[place + 2..].iter().find_map(text_of));
        title.map(|title| title.unwrap_or_default().to_owned()).collect()
    }

    /// All visible text, in pieces.
    pub fn text(&self) -> String {
        self.pieces.iter().filter_map(text_of).collect::<Vec<_>>().join("")
    }
}

fn text_of(piece: &Piece) -> Option<&str> {
    match piece {
        Piece::Text(text) => Some(text),
        _ => None,
    }
}

fn opened(piece: &Piece) -> Option<&str> {
    match piece {
        Piece::Open(name, _) => Some(name),
        _ => None,
    }
}

fn is_drawing(piece: &Piece) -> bool {
    matches!(piece, Piece::Open(_, attributes) if attributes.iter().any(|it| it.1 == "img"))
}

/// The name, the attributes, and the text after the tag.
#[track_caller]
fn tag_of(text: &str) -> (String, Vec<(String, String)>, &str) {
    let end = text.find([' ', '>']).expect("an end of a tag");
    let (name, mut rest) = text.split_at(end);
    assert!(name.chars().all(|it| it.is_ascii_alphanumeric()), "<{name}> is no element");
    let mut attributes = Vec::new();
    while let Some(after) = rest.strip_prefix(' ') {
        let end = after.find(['=', ' ', '>']).expect("an end of an attribute");
        let (attribute, after) = after.split_at(end);
        let (value, after) = match after.strip_prefix("=\"") {
            Some(quoted) => quoted.split_once('"').expect("an end of a value"),
            None => ("", after),
        };
        attributes.push((attribute.to_owned(), unescaped(value)));
        rest = after;
    }
    let rest =
        rest.strip_prefix('>').unwrap_or_else(|| panic!("<{name} {attributes:?}: {rest:.60}"));
    (name.to_owned(), attributes, rest)
}

#[track_caller]
fn unescaped(text: &str) -> String {
    assert!(!text.contains('<'), "{text:.80}");
    let entities = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")];
    let known = |at: usize| entities.iter().any(|(entity, _)| text[at..].starts_with(entity));
    assert!(text.match_indices('&').all(|(at, _)| known(at)), "{text:.80}");
    entities.iter().fold(text.to_owned(), |text, (entity, it)| text.replace(entity, it))
}

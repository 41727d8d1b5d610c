//! The position of every key and value in a YAML text, from the events of `saphyr-parser`. Finds
//! duplicate keys on the way. The values come from `serde_yaml`, see `positions`.

use std::collections::{BTreeMap, HashMap};

use saphyr_parser::{Event, Parser, ScanError};

/// How deeply a text may be nested, as for `serde_yaml`.
pub(super) const MAX_DEPTH: usize = 128;

/// That many open brackets cannot be due to texts in quotes.
const FAR_TOO_DEEP: usize = 200;

/// How much aliases may repeat: every value counts 1, and every [`LONG`] bytes of a text one more.
const MAX_REPEATED: u64 = 250_000;
const LONG: usize = 256;

/// A place in the file. Line and column count from 1; column and width are in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span {
    pub(super) line: usize,
    pub(super) column: usize,
    /// 0 if the extent is unknown or covers several lines.
    pub(super) width: usize,
}

/// Where a key or a value was written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Origin {
    File(Span),
    /// The `--set` at this index.
    Set(usize),
    /// The axis at this index among those typed after `pipe sweep`.
    Axis(usize),
    /// The argument `--profile`.
    Profile,
}

impl Origin {
    /// The line in the file; 0 for a value from the command line.
    pub(super) fn line(self) -> usize {
        match self {
            Origin::File(span) => span.line,
            Origin::Set(_) | Origin::Axis(_) | Origin::Profile => 0,
        }
    }
}

/// The position of a value and of everything inside it.
#[derive(Debug)]
pub(super) struct Mark {
    pub(super) origin: Origin,
    pub(super) kind: MarkKind,
}

#[derive(Debug)]
pub(super) enum MarkKind {
    Leaf,
    List(Vec<Mark>),
    Map(Vec<KeyMark>),
}

#[derive(Debug)]
pub(super) struct KeyMark {
    pub(super) key: String,
    pub(super) origin: Origin,
    pub(super) value: Mark,
}

/// A key that occurs a second time in its map.
#[derive(Debug)]
pub(super) struct Duplicate {
    pub(super) key: String,
    pub(super) span: Span,
    pub(super) first_line: usize,
}

impl Mark {
    /// A value without known positions inside it.
    pub(super) fn leaf(origin: Origin) -> Mark {
        Mark { origin, kind: MarkKind::Leaf }
    }
}

/// The positions in a text.
#[derive(Debug)]
pub(super) struct Marks {
    /// `None` if the text is empty or not YAML.
    pub(super) root: Option<Mark>,
    pub(super) duplicates: Vec<Duplicate>,
}

/// The text has more than anybody would write, and reading it would take long.
#[derive(Debug)]
pub(super) struct Excess {
    pub(super) span: Span,
    pub(super) problem: String,
}

/// How many values the aliases of a text stand for.
#[derive(Default)]
struct Repeated {
    /// The size of each value that has an anchor.
    anchors: HashMap<usize, u64>,
    /// The anchor and the size so far of each map and list that has not ended.
    open: Vec<(usize, u64)>,
    total: u64,
}

impl Repeated {
    /// Takes notice of an event.
    fn count(&mut self, event: &Event, at: Span) -> Result<(), Excess> {
        let (anchor, size) = match event {
            Event::MappingStart(anchor, _) | Event::SequenceStart(anchor, _) => {
                self.open.push((*anchor, 1));
                return Ok(());
            }
            Event::MappingEnd | Event::SequenceEnd => self.open.pop().unwrap_or_default(),
            Event::Scalar(text, _, anchor, _) => (*anchor, 1 + (text.len() / LONG) as u64),
            Event::Alias(anchor) => {
                let size = self.anchors.get(anchor).copied().unwrap_or(1);
                self.total = self.total.saturating_add(size);
                (0, size)
            }
            _ => return Ok(()),
        };
        if anchor > 0 {
            self.anchors.insert(anchor, size);
        }
        if let Some((_, around)) = self.open.last_mut() {
            *around = around.saturating_add(size);
        }
        if self.total <= MAX_REPEATED {
            return Ok(());
        }
        let problem = format!("its aliases stand for more than {MAX_REPEATED} values");
        Err(Excess { span: at, problem })
    }
}

/// A map or list whose end has not been read yet.
enum Open {
    List(Span, Vec<Mark>),
    Map {
        span: Span,
        entries: Vec<KeyMark>,
        /// The line of every key read so far.
        lines: BTreeMap<String, usize>,
        /// The key whose value comes next.
        key: Option<(String, Span)>,
    },
}

/// The positions in `text`, as far as it can be parsed; `serde_yaml` reports syntax errors.
pub(super) fn read(text: &str) -> Result<Marks, Excess> {
    let mut duplicates = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    let (mut repeated, mut root) = (Repeated::default(), None);
    for event in Parser::new_from_str(text) {
        let (event, span) = match event {
            Ok(event) => event,
            Err(error) => match excess_at(&error, text) {
                Some(excess) => return Err(excess),
                None => break,
            },
        };
        let at = span_of(&span);
        repeated.count(&event, at)?;
        let finished = match event {
            Event::MappingStart(..) | Event::SequenceStart(..) if open.len() >= MAX_DEPTH => {
                return Err(too_deep(at));
            }
            Event::MappingStart(..) => {
                let (entries, lines) = (Vec::new(), BTreeMap::new());
                open.push(Open::Map { span: at, entries, lines, key: None });
                continue;
            }
            Event::SequenceStart(..) => {
                open.push(Open::List(at, Vec::new()));
                continue;
            }
            Event::MappingEnd | Event::SequenceEnd => match open.pop() {
                Some(Open::Map { span, entries, .. }) => {
                    Mark { origin: Origin::File(span), kind: MarkKind::Map(entries) }
                }
                Some(Open::List(span, items)) => {
                    Mark { origin: Origin::File(span), kind: MarkKind::List(items) }
                }
                None => break,
            },
            Event::Scalar(scalar, ..) => {
                if let Some(Open::Map { lines, key: key @ None, .. }) = open.last_mut() {
                    let scalar = scalar.into_owned();
                    match lines.get(&scalar) {
                        Some(&first_line) => {
                            let key = scalar.clone();
                            duplicates.push(Duplicate { key, span: at, first_line });
                        }
                        None => {
                            lines.insert(scalar.clone(), at.line);
                        }
                    }
                    *key = Some((scalar, at));
                    continue;
                }
                Mark::leaf(Origin::File(at))
            }
            Event::Alias(_) => Mark::leaf(Origin::File(at)),
            _ => continue,
        };
        match open.last_mut() {
            Some(Open::List(_, items)) => items.push(finished),
            Some(Open::Map { entries, key, .. }) => match key.take() {
                Some((key, span)) => {
                    let origin = Origin::File(span);
                    entries.push(KeyMark { key, origin, value: finished });
                }
                // The key is itself a map or a list, and has no name.
                None => *key = Some((String::new(), Span::default())),
            },
            None => {
                root = Some(finished);
                break;
            }
        }
    }
    Ok(Marks { root, duplicates })
}

fn too_deep(span: Span) -> Excess {
    Excess { span, problem: format!("it is nested more than {MAX_DEPTH} levels deep") }
}

/// Whether the parser stopped because of the depth. It has a limit of its own, and looks ahead. Where
/// it stops for another reason, `serde_yaml` goes on, and must not find the brackets either.
fn excess_at(error: &ScanError, text: &str) -> Option<Excess> {
    let is_deep = error.info() == "recursion limit exceeded" || brackets(text) > FAR_TOO_DEEP;
    let (line, column) = (error.marker().line(), error.marker().col() + 1);
    is_deep.then(|| too_deep(Span { line, column, width: 1 }))
}

/// The most brackets that are open at once, without regard to texts in quotes.
fn brackets(text: &str) -> usize {
    let (mut open, mut most) = (0usize, 0);
    for byte in text.bytes() {
        match byte {
            b'[' | b'{' => open += 1,
            b']' | b'}' => open = open.saturating_sub(1),
            _ => continue,
        }
        most = most.max(open);
    }
    most
}

fn span_of(span: &saphyr_parser::Span) -> Span {
    let one_line = span.start.line() == span.end.line();
    Span {
        line: span.start.line(),
        column: span.start.col() + 1,
        width: if one_line { span.end.col().saturating_sub(span.start.col()) } else { 0 },
    }
}

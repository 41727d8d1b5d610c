//! Where everything in a YAML text stands: the shape of the document with positions and no
//! values, from the events of `saphyr-parser`. Finds duplicate keys on the way.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser};

/// Deeper than any pipeline; `serde_yaml` refuses at 128.
const MAX_DEPTH: usize = 100;

/// A place in the file: line and column from 1, both the column and the width in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span {
    pub(super) line: usize,
    pub(super) column: usize,
    /// 0 where the extent is unknown or covers several lines.
    pub(super) width: usize,
}

/// Where a key or a value was written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Origin {
    File(Span),
    /// The `--set` of that index.
    Set(usize),
    /// The axis of that index, which was typed after `pipe sweep`.
    Axis(usize),
    /// The argument `--profile` itself.
    Profile,
}

impl Origin {
    /// The line in the file, 0 for what came from the command line.
    pub(super) fn line(self) -> usize {
        match self {
            Origin::File(span) => span.line,
            Origin::Set(_) | Origin::Axis(_) | Origin::Profile => 0,
        }
    }
}

/// One value's position, and those of what is in it.
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

/// A key that its map already has.
#[derive(Debug)]
pub(super) struct Duplicate {
    pub(super) key: String,
    pub(super) span: Span,
    pub(super) first_line: usize,
}

impl Mark {
    /// Something whose inside has no positions of its own.
    pub(super) fn leaf(origin: Origin) -> Mark {
        Mark { origin, kind: MarkKind::Leaf }
    }
}

/// A map or list whose end has not come yet.
enum Open {
    List(Span, Vec<Mark>),
    Map {
        span: Span,
        entries: Vec<KeyMark>,
        /// Every key so far and its line.
        lines: BTreeMap<String, usize>,
        /// The key whose value comes next.
        key: Option<(String, Span)>,
    },
}

/// The positions of everything in `text`, as far as it can be parsed: whether it is YAML is for
/// `serde_yaml` to say. `None` where nothing, or something too deep, is in it.
pub(super) fn read(text: &str) -> (Option<Mark>, Vec<Duplicate>) {
    let mut duplicates = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    for event in Parser::new_from_str(text) {
        let Ok((event, span)) = event else { break };
        let at = span_of(&span);
        let finished = match event {
            Event::MappingStart(..) | Event::SequenceStart(..) if open.len() >= MAX_DEPTH => {
                return (None, duplicates);
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
                            duplicates.push(Duplicate {
                                key: scalar.clone(),
                                span: at,
                                first_line,
                            });
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
                // A key that is itself a map or a list; no name to find it by.
                None => *key = Some((String::new(), Span::default())),
            },
            None => return (Some(finished), duplicates),
        }
    }
    (None, duplicates)
}

fn span_of(span: &saphyr_parser::Span) -> Span {
    let one_line = span.start.line() == span.end.line();
    Span {
        line: span.start.line(),
        column: span.start.col() + 1,
        width: if one_line { span.end.col().saturating_sub(span.start.col()) } else { 0 },
    }
}

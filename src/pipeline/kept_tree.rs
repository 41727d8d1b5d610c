//! The tree of a long pipeline file, kept in `cache/parsed` in a form that is read faster than YAML.
//! It stands for one text, by its digest, and for nothing else: losing it costs time, never
//! correctness.

use std::path::PathBuf;

use serde_json::Value;

use super::marks::{MAX_DEPTH, Origin, Span};
use super::yaml::{YamlEntry, YamlNode, YamlValue};
use crate::files::digest::{Digest, opened, sealed};
use crate::files::file_error::FileError;
use crate::files::packed::{Packed, put_size, put_text};
use crate::files::regular;
use crate::files::scratch::Scratch;

/// A shorter text is read sooner than a second file is opened. In bytes.
pub const LONG: usize = 16 * 1024;

/// The file, which is [`sealed`]: this header, the version of `pipe`, the digest of the text, the
/// nodes. To be changed whenever the same text would give another tree.
const HEADER: &str = concat!("pipetree1 ", env!("CARGO_PKG_VERSION"), "\n");

/// The place of a kept tree, and the tree of a text that was read because it did not lie there.
#[derive(Debug)]
pub struct KeptTree {
    file: PathBuf,
    made: Option<Vec<u8>>,
}

impl KeptTree {
    /// Reads nothing.
    pub fn at(file: PathBuf) -> KeptTree {
        KeptTree { file, made: None }
    }

    /// The tree of a text, if it is the one that was kept.
    pub(super) fn find(&self, text: &str) -> Option<YamlNode> {
        (text.len() >= LONG).then_some(())?;
        decode(&regular::read(&self.file).ok()?, text)
    }

    /// Remembers the tree of a text for [`KeptTree::save`].
    pub(super) fn learn(&mut self, text: &str, tree: &YamlNode) {
        self.made = (text.len() >= LONG).then(|| encode(tree, text)).flatten();
    }

    /// Writes the tree, unless it lies there.
    pub fn save(&self, scratch: &Scratch) -> Result<(), FileError> {
        self.made.as_ref().map_or(Ok(()), |bytes| scratch.write(&self.file, bytes, false))
    }
}

fn encode(tree: &YamlNode, text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(2 * text.len());
    bytes.extend(HEADER.as_bytes());
    bytes.extend(Digest::of_bytes(text.as_bytes()).as_bytes());
    write_node(tree, &mut bytes)?;
    Some(sealed(bytes))
}

fn decode(bytes: &[u8], text: &str) -> Option<YamlNode> {
    let (of_text, nodes) = opened(bytes, HEADER.as_bytes())?.split_first_chunk::<32>()?;
    (Digest::of_bytes(text.as_bytes()).as_bytes() == of_text).then_some(())?;
    let mut nodes = Packed(nodes);
    let tree = node(&mut nodes, MAX_DEPTH + 1)?;
    nodes.is_empty().then_some(tree)
}

const NULL: u8 = 0;
const FALSE: u8 = 1;
const TRUE: u8 = 2;
const SIGNED: u8 = 3;
const UNSIGNED: u8 = 4;
const FLOAT: u8 = 5;
const TEXT: u8 = 6;
const LIST: u8 = 7;
const MAP: u8 = 8;

/// Writes a node: its kind, its place, and its value. `None` for one that no text gives.
fn write_node(node: &YamlNode, bytes: &mut Vec<u8>) -> Option<()> {
    let (kind, number) = match &node.content {
        YamlValue::Scalar(Value::Null) => (NULL, None),
        YamlValue::Scalar(Value::Bool(value)) => (if *value { TRUE } else { FALSE }, None),
        YamlValue::Scalar(Value::Number(number)) => {
            match (number.as_i64(), number.as_u64(), number.as_f64()) {
                (Some(number), ..) => (SIGNED, Some(number as u64)),
                (None, Some(number), _) => (UNSIGNED, Some(number)),
                (None, None, number) => (FLOAT, Some(number?.to_bits())),
            }
        }
        YamlValue::Scalar(Value::String(_)) => (TEXT, None),
        YamlValue::Scalar(Value::Array(_) | Value::Object(_)) => return None,
        YamlValue::List(_) => (LIST, None),
        YamlValue::Map(_) => (MAP, None),
    };
    node.via.is_empty().then_some(())?;
    bytes.push(kind);
    write_origin(node.origin, bytes)?;
    bytes.extend(number.map(u64::to_le_bytes).into_iter().flatten());
    match &node.content {
        YamlValue::Scalar(Value::String(text)) => put_text(text, bytes),
        YamlValue::Scalar(_) => Some(()),
        YamlValue::List(items) => {
            put_size(items.len(), bytes)?;
            items.iter().try_for_each(|item| write_node(item, bytes))
        }
        YamlValue::Map(entries) => {
            put_size(entries.len(), bytes)?;
            entries.iter().try_for_each(|entry| {
                put_text(&entry.key, bytes)?;
                write_origin(entry.key_origin, bytes)?;
                write_node(&entry.value, bytes)
            })
        }
    }
}

fn write_origin(origin: Origin, bytes: &mut Vec<u8>) -> Option<()> {
    let Origin::File(Span { line, column, width }) = origin else { return None };
    [line, column, width].into_iter().try_for_each(|number| put_size(number, bytes))
}

/// Reads a node of at most this depth.
fn node(packed: &mut Packed, depth: usize) -> Option<YamlNode> {
    let depth = depth.checked_sub(1)?;
    let [kind] = *packed.take::<1>()?;
    let origin = origin(packed)?;
    let scalar = match kind {
        NULL => Value::Null,
        FALSE | TRUE => (kind == TRUE).into(),
        SIGNED => (packed.number()? as i64).into(),
        UNSIGNED => packed.number()?.into(),
        FLOAT => serde_json::Number::from_f64(f64::from_bits(packed.number()?))?.into(),
        TEXT => packed.text()?.into(),
        LIST | MAP => {
            let content = match kind {
                LIST => YamlValue::List(packed.list(|packed| node(packed, depth))?),
                _ => YamlValue::Map(packed.list(|packed| entry(packed, depth))?),
            };
            return Some(YamlNode { content, origin, via: Vec::new() });
        }
        _ => return None,
    };
    Some(YamlNode::scalar(scalar, origin))
}

fn entry(packed: &mut Packed, depth: usize) -> Option<YamlEntry> {
    let (key, key_origin) = (packed.text()?.to_owned(), origin(packed)?);
    Some(YamlEntry { key, key_origin, value: node(packed, depth)? })
}

fn origin(packed: &mut Packed) -> Option<Origin> {
    let (line, column, width) = (packed.size()?, packed.size()?, packed.size()?);
    Some(Origin::File(Span { line, column, width }))
}

#[cfg(test)]
mod tests {
    use super::{KeptTree, LONG, decode, encode};
    use crate::pipeline::positions;
    use crate::pipeline::problem::Problems;
    use crate::pipeline::values;
    use crate::pipeline::yaml::YamlNode;

    const TEXT: &str =
        "a: [1, -2, 3.5, 18446744073709551615, true, ~, 'x ü']\nb: {c: &d [x], e: *d}\n";

    fn tree(text: &str) -> YamlNode {
        let overrides = Default::default();
        let mut problems = Problems::new(text, &overrides, &[]);
        let (_, values) = values::read(text);
        let values = values.ok().expect("the text is YAML");
        positions::join(values.yaml, values.mark, &mut problems)
    }

    #[test]
    fn a_kept_tree_is_the_one_that_the_text_gives() {
        let tree = tree(TEXT);
        let bytes = encode(&tree, TEXT).expect("a tree of a text");
        assert_eq!(format!("{:?}", decode(&bytes, TEXT)), format!("{:?}", Some(tree)));
    }

    #[test]
    fn a_kept_tree_stands_for_no_other_text_and_for_none_if_a_bit_of_it_is_wrong() {
        let bytes = encode(&tree(TEXT), TEXT).expect("a tree of a text");
        assert!(decode(&bytes, &TEXT.replace('x', "y")).is_none());
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(decode(&damaged, TEXT).is_none(), "byte {at}");
            assert!(decode(&bytes[..at], TEXT).is_none(), "the first {at} bytes");
        }
    }

    #[test]
    fn a_short_text_is_not_kept() {
        let mut kept = KeptTree::at("nowhere".into());
        kept.learn(TEXT, &tree(TEXT));
        assert!(kept.made.is_none());
        let long = format!("{TEXT}# {}\n", "-".repeat(LONG));
        kept.learn(&long, &tree(&long));
        assert!(kept.made.is_some());
    }
}

//! The vocabulary and merges of a `tokenizer.json` as a digest reads them, taken from the file while the
//! library makes the tokenizer from it. To ask the library for them afterwards takes as long again.

use std::borrow::Cow;
use std::fmt;

use ahash::AHashSet;
use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::{RawValue, to_raw_value};
use tokenizers::{Model, ModelWrapper, Tokenizer};

/// What a file lists.
pub(super) struct Listed {
    /// Every token, `[id, token]`, in the order of ids, as JSON.
    pub(super) tokens: Box<RawValue>,
    /// BPE's merges, `[left, right]`, as JSON.
    pub(super) merges: Option<Box<RawValue>>,
    /// The number of tokens, and of those of the model.
    counts: [usize; 2],
    added: Vec<(u32, String)>,
}

impl Listed {
    /// What a file lists. `None` for other models than BPE and WordPiece, and if the library may
    /// understand the lists in another way: ids with gaps, anything that is listed twice.
    pub(super) fn of(bytes: &[u8]) -> Option<Listed> {
        let File { added_tokens, model } = serde_json::from_slice(bytes).ok()?;
        let Vocabulary(mut all) = model.vocab;
        let of_model = all.len();
        let known: AHashSet<&str> = all.iter().map(|(token, _)| &*token.0).collect();
        let new = |added: &&Added| !known.contains(&*added.content);
        let new: Vec<_> =
            added_tokens.iter().filter(new).map(|it| (Text(it.content.clone()), it.id)).collect();
        all.extend(new);
        all.sort_unstable_by_key(|(_, id)| *id);
        let has_all_ids = all.iter().zip(0..).all(|((_, id), nth)| *id == nth);
        let tokens: AHashSet<&str> = all.iter().map(|(token, _)| &*token.0).collect();
        let added: AHashSet<u32> = added_tokens.iter().map(|added| added.id).collect();
        let is_unique = (tokens.len(), added.len()) == (all.len(), added_tokens.len());
        let merges = match (model.kind, model.merges) {
            (ModelKind::Bpe, Some(Merges(merges))) => {
                let pairs: AHashSet<_> =
                    merges.iter().map(|(one, two)| (&*one.0, &*two.0)).collect();
                (pairs.len() == merges.len()).then_some(())?;
                let pairs: Vec<_> = merges.iter().map(|(one, two)| (&*one.0, &*two.0)).collect();
                Some(to_raw_value(&pairs).ok()?)
            }
            (ModelKind::WordPiece, None) => None,
            _ => return None,
        };
        (has_all_ids && is_unique).then_some(())?;
        let list: Vec<(u32, &str)> = all.iter().map(|(token, id)| (*id, &*token.0)).collect();
        Some(Listed {
            tokens: to_raw_value(&list).ok()?,
            merges,
            counts: [all.len(), of_model],
            added: added_tokens.into_iter().map(|it| (it.id, it.content.into_owned())).collect(),
        })
    }

    /// Whether the library has understood the file so. `count` is the number of all tokens of the
    /// tokenizer.
    pub(super) fn is_of(&self, tokenizer: &Tokenizer, count: usize) -> bool {
        let is_kind = match tokenizer.get_model() {
            ModelWrapper::BPE(_) => self.merges.is_some(),
            ModelWrapper::WordPiece(_) => self.merges.is_none(),
            ModelWrapper::Unigram(_) | ModelWrapper::WordLevel(_) => false,
        };
        let added = tokenizer.get_added_vocabulary();
        is_kind
            && self.counts == [count, tokenizer.get_model().get_vocab_size()]
            && added.get_vocab().len() == self.added.len()
            && self.added.iter().all(|(id, token)| {
                tokenizer.token_to_id(token) == Some(*id)
                    && added.simple_id_to_token(*id).as_ref() == Some(token)
            })
    }
}

#[derive(Deserialize)]
struct File<'f> {
    #[serde(borrow)]
    added_tokens: Vec<Added<'f>>,
    #[serde(borrow)]
    model: Lists<'f>,
}

#[derive(Deserialize)]
struct Added<'f> {
    id: u32,
    #[serde(borrow)]
    content: Cow<'f, str>,
}

#[derive(Deserialize)]
struct Lists<'f> {
    #[serde(rename = "type")]
    kind: ModelKind,
    #[serde(borrow)]
    vocab: Vocabulary<'f>,
    #[serde(borrow)]
    merges: Option<Merges<'f>>,
}

/// The kinds of models that have a reader of their own.
#[derive(Clone, Copy, Deserialize)]
pub(super) enum ModelKind {
    #[serde(rename = "BPE")]
    Bpe,
    Unigram,
    WordPiece,
}

/// A text that is not copied if it has no escapes.
#[derive(Deserialize)]
struct Text<'f>(#[serde(borrow)] Cow<'f, str>);

/// Tokens with their ids, in the order of the file.
struct Vocabulary<'f>(Vec<(Text<'f>, u32)>);

impl<'de: 'f, 'f> Deserialize<'de> for Vocabulary<'f> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Vocabulary<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
                formatter.write_str("a map from tokens to ids")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Vocabulary(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// Pairs of tokens, each as a list or, in older files, as one text with a space in it.
struct Merges<'f>(Vec<(Text<'f>, Text<'f>)>);

impl<'de: 'f, 'f> Deserialize<'de> for Merges<'f> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let pairs = Vec::<Pair>::deserialize(deserializer)?;
        Ok(Merges(pairs.into_iter().map(|Pair(left, right)| (left, right)).collect()))
    }
}

struct Pair<'f>(Text<'f>, Text<'f>);

impl<'de: 'f, 'f> Deserialize<'de> for Pair<'f> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Pair<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
                formatter.write_str("two tokens")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let (left, right) = (list.next_element()?, list.next_element()?);
                match (left, right, list.next_element::<IgnoredAny>()?) {
                    (Some(left), Some(right), None) => Ok(Pair(left, right)),
                    _ => Err(Error::custom("not two tokens")),
                }
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                let (left, right) = halves(text).ok_or_else(|| E::custom("not two tokens"))?;
                Ok(Pair(Text(left.into()), Text(right.into())))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                let (left, right) = halves(text).ok_or_else(|| E::custom("not two tokens"))?;
                let own = |text: &str| Text(text.to_owned().into());
                Ok(Pair(own(left), own(right)))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// The two tokens of a merge. `None` for a text that may be something else, such as the line with the
/// version.
fn halves(text: &str) -> Option<(&str, &str)> {
    text.split_once(' ').filter(|(left, right)| !right.contains(' ') && !left.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use serde_json::{Value, json};

    use super::*;
    use crate::family::ROBERTA;
    use crate::text::TextTokenizer;

    const FOLDERS: [&str; 4] = [
        "../models/tweet-encoder",
        "tests/fixtures/tokenize/bpe",
        "tests/fixtures/tokenize/modernbert",
        "tests/fixtures/tokenize/wordpiece",
    ];

    fn folder(name: &str) -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
    }

    /// The digest with and without what the file lists.
    fn digests(folder: &Path) -> [String; 2] {
        [TextTokenizer::open_to_digest, TextTokenizer::open]
            .map(|open| open(folder, &ROBERTA).unwrap().digest().unwrap())
    }

    #[test]
    fn the_lists_of_a_bpe_and_of_a_wordpiece_are_those_of_the_library() {
        let mut found = [0, 0];
        for name in FOLDERS {
            let bytes = fs::read(folder(name).join("tokenizer.json")).unwrap();
            let [listed, asked] = digests(&folder(name));
            assert_eq!(listed, asked, "{name}");
            let tokenizer = TextTokenizer::open(&folder(name), &ROBERTA).unwrap();
            let Some(listed) = Listed::of(&bytes) else { panic!("{name}") };
            let made = Tokenizer::from_bytes(&bytes).unwrap();
            assert!(listed.is_of(&made, tokenizer.vocab_size()), "{name}");
            assert!(!listed.is_of(&made, tokenizer.vocab_size() + 1), "{name}");
            found[usize::from(listed.merges.is_some())] += 1;
        }
        assert!(found[0] > 0 && found[1] > 0, "{found:?}");
    }

    /// A BPE of the letters a to d.
    fn letters() -> Value {
        let vocab = json!({"a": 0, "b": 1, "c": 2, "d": 3, "ab": 4, "cd": 5, "<s>": 6, "</s>": 7});
        let added = |id: u32, content: &str| {
            json!({
                "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true
            })
        };
        json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": [added(6, "<s>"), added(7, "</s>"), added(8, "<new>")],
            "normalizer": null,
            "pre_tokenizer": null,
            "post_processor": {"type": "RobertaProcessing", "sep": ["</s>", 7], "cls": ["<s>", 6],
                "trim_offsets": true, "add_prefix_space": false},
            "decoder": null,
            "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
                "ignore_merges": false, "vocab": vocab, "merges": [["a", "b"], ["c", "d"]]},
        })
    }

    #[test]
    fn lists_that_the_library_may_understand_in_another_way_are_not_used() {
        let place = tempfile::tempdir().unwrap();
        let write = |text: &str| fs::write(place.path().join("tokenizer.json"), text).unwrap();
        let uses = |text: &str| {
            write(text);
            let [listed, asked] = digests(place.path());
            assert_eq!(listed, asked, "{text}");
            let tokenizer = Tokenizer::from_bytes(text.as_bytes()).unwrap();
            let count = TextTokenizer::open(place.path(), &ROBERTA).unwrap().vocab_size();
            Listed::of(text.as_bytes()).is_some_and(|listed| listed.is_of(&tokenizer, count))
        };
        let whole = letters().to_string();
        assert!(uses(&whole));
        let with = |pointer: &str, value: Value| {
            let mut changed = letters();
            *changed.pointer_mut(pointer).unwrap() = value;
            changed.to_string()
        };
        let old = with("/model/merges", json!(["a b", "c d"]));
        assert!(uses(&old));
        assert_eq!(
            digests(place.path()),
            [(); 2].map(|()| {
                write(&whole);
                digests(place.path())[0].clone()
            })
        );
        assert!(uses(&whole.replace("\"ab\"", "\"\\u0061b\"")), "an escape");
        for (what, text) in [
            ("a gap in the ids", with("/model/vocab/cd", json!(11))),
            ("an id of two tokens", with("/model/vocab/cd", json!(4))),
            ("an added token of another id", with("/added_tokens/0/id", json!(3))),
            ("a new token of another id", with("/added_tokens/2/id", json!(20))),
            ("an added token that is there twice", with("/added_tokens/2/content", json!("<s>"))),
            (
                "a merge that is there twice",
                with("/model/merges", json!([["a", "b"], ["c", "d"], ["a", "b"]])),
            ),
            ("a token that is there twice", whole.replace("\"ab\":4", "\"ab\":4,\"ab\":4")),
        ] {
            assert_ne!(text, whole, "{what}");
            assert!(!uses(&text), "{what}");
        }
    }
}

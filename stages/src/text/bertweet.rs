//! BERTweet's own tokenizer, from `bpe.codes` and `vocab.txt`: fastBPE on words between white
//! space, with `@@` at the end of every piece except the last of a word. Gives the same ids as
//! `BertweetTokenizer` of `transformers`, including its quirks at line ends.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::RwLock;

/// The tokens that `BertweetTokenizer` puts before those of the file, in this order.
const SPECIAL: [&str; 4] = ["<s>", "<pad>", "</s>", "<unk>"];
const MASK: &str = "<mask>";
const UNKNOWN: u32 = 3;
/// Marks the last symbol of a word in `bpe.codes`.
const WORD_END: &str = "</w>";
/// How many words are cached with their ids: enough for the frequent words of a natural text.
const CACHED_WORDS: usize = 50_000;
/// The longest word that is kept, so that what is kept has a bound.
const CACHED_BYTES: usize = 256;
/// A symbol that occurs in no merge.
const NO_SYMBOL: u32 = u32::MAX;

/// The tokenizer.
pub struct Bertweet {
    ids: HashMap<String, u32>,
    tokens: Vec<String>,
    /// The numbers of the symbols that occur in merges.
    symbols: HashMap<String, u32>,
    /// For a pair of symbols, the rank of its merge and the merged symbol.
    merges: HashMap<(u32, u32), (u32, u32)>,
    cache: RwLock<HashMap<String, Box<[u32]>>>,
}

impl Bertweet {
    /// Builds the tokenizer from the contents of `vocab.txt` (lines `token count`) and `bpe.codes`
    /// (lines `left right count`).
    ///
    /// # Errors
    /// The malformed line of `vocab.txt`, counted from 1.
    pub fn new(vocab: &str, codes: &str) -> Result<Bertweet, usize> {
        let mut ids: HashMap<String, u32> = HashMap::new();
        for special in SPECIAL {
            ids.insert(special.to_owned(), ids.len() as u32);
        }
        for (number, line) in vocab.lines().enumerate() {
            let (token, _count) = line.trim_matches(is_space).rsplit_once(' ').ok_or(number + 1)?;
            // As with the Python dictionary, a token that occurs twice gets a new id without
            // growing the dictionary, so the next token shares that id.
            let id = ids.len() as u32;
            ids.insert(token.to_owned(), id);
        }
        let next = ids.len() as u32;
        ids.entry(MASK.to_owned()).or_insert(next);
        let mut tokens = vec![String::new(); ids.values().max().map_or(0, |id| *id as usize + 1)];
        for (token, id) in &ids {
            tokens[*id as usize] = token.clone();
        }
        let mut bertweet = Bertweet {
            ids,
            tokens,
            symbols: HashMap::new(),
            merges: HashMap::new(),
            cache: RwLock::default(),
        };
        // Text after the last line break is not a line.
        let whole_lines = codes.rsplit_once('\n').map_or("", |(lines, _)| lines);
        for (rank, line) in whole_lines.split('\n').enumerate() {
            let parts: Vec<&str> = line.split(is_space).filter(|part| !part.is_empty()).collect();
            // The last column is a count. Lines without three columns name no pair.
            let [left, right, _count] = parts[..] else { continue };
            let merged = bertweet.symbol(&format!("{left}{right}"));
            let pair = (bertweet.symbol(left), bertweet.symbol(right));
            bertweet.merges.insert(pair, (rank as u32, merged));
        }
        Ok(bertweet)
    }

    fn symbol(&mut self, text: &str) -> u32 {
        let next = self.symbols.len() as u32;
        *self.symbols.entry(text.to_owned()).or_insert(next)
    }

    /// How many ids there are.
    pub fn vocab_size(&self) -> usize {
        self.tokens.len()
    }

    /// The token of an id.
    pub fn token(&self, id: u32) -> Option<&str> {
        self.tokens.get(id as usize).map(String::as_str)
    }

    /// The id of a token.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.ids.get(token).copied()
    }

    /// The ids of a text, without special tokens around it. Where the text contains a special
    /// token, it becomes that token.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let mut ids = Vec::new();
        let mut rest = text;
        while let Some((start, special)) = first_special(rest) {
            self.encode_words(&rest[..start], &mut ids);
            ids.push(self.ids.get(special).copied().unwrap_or(UNKNOWN));
            rest = &rest[start + special.len()..];
        }
        self.encode_words(rest, &mut ids);
        ids
    }

    /// As `re.findall(r"\S+\n?", text)`: a line break right after a word belongs to the word.
    fn encode_words(&self, text: &str, ids: &mut Vec<u32>) {
        let mut rest = text.trim_start_matches(is_space);
        while !rest.is_empty() {
            let mut end = rest.find(is_space).unwrap_or(rest.len());
            if rest[end..].starts_with('\n') {
                end += 1;
            }
            self.encode_word(&rest[..end], ids);
            rest = rest[end..].trim_start_matches(is_space);
        }
    }

    fn encode_word(&self, word: &str, ids: &mut Vec<u32>) {
        // Does not wait for a writer: encoding the word again is cheap.
        if let Ok(cache) = self.cache.try_read()
            && let Some(found) = cache.get(word)
        {
            ids.extend_from_slice(found);
            return;
        }
        let start = ids.len();
        let pieces = self.merge(word);
        for (number, piece) in pieces.iter().enumerate() {
            let id = match number + 1 == pieces.len() {
                true => self.ids.get(*piece),
                false => self.ids.get(&format!("{piece}@@")),
            };
            ids.push(id.copied().unwrap_or(UNKNOWN));
        }
        if word.len() <= CACHED_BYTES
            && let Ok(mut cache) = self.cache.try_write()
            && cache.len() < CACHED_WORDS
        {
            cache.insert(word.to_owned(), ids[start..].into());
        }
    }

    /// The pieces of a word. Each round merges all occurrences of the pair with the lowest rank,
    /// from the left. Pairs are in a heap by rank and position, so that a word of n characters
    /// takes O(n log n) steps. Pairs that a merge has invalidated are skipped when they come up.
    fn merge<'a>(&self, word: &'a str) -> Vec<&'a str> {
        let mut bounds: Vec<usize> = word.char_indices().map(|(at, _)| at).collect();
        bounds.push(word.len());
        let count = bounds.len() - 1;
        if count < 2 {
            return vec![word];
        }
        let mut chain = Chain::new(count, |number| {
            let text = &word[bounds[number]..bounds[number + 1]];
            let symbol = match number + 1 == count {
                true => self.symbols.get(&format!("{text}{WORD_END}")),
                false => self.symbols.get(text),
            };
            symbol.copied().unwrap_or(NO_SYMBOL)
        });
        let merge_at = |chain: &Chain, left: usize| {
            let (left, right) = chain.pair(left)?;
            self.merges.get(&(left, right)).copied()
        };
        let mut pairs: BinaryHeap<Reverse<(u32, usize)>> = (0..count - 1)
            .filter_map(|left| Some(Reverse((merge_at(&chain, left)?.0, left))))
            .collect();
        let mut changed = Vec::new();
        while let Some(&Reverse((lowest, _))) = pairs.peek() {
            while let Some(&Reverse((rank, left))) = pairs.peek().filter(|pair| pair.0.0 == lowest)
            {
                pairs.pop();
                let merge = merge_at(&chain, left).filter(|(found, _)| *found == rank);
                if let Some((_, symbol)) = merge {
                    chain.merge(left, symbol);
                    changed.extend(chain.previous(left));
                    changed.push(left);
                }
            }
            for left in changed.drain(..) {
                pairs.extend(merge_at(&chain, left).map(|(rank, _)| Reverse((rank, left))));
            }
        }
        chain.spans().map(|(first, end)| &word[bounds[first]..bounds[end]]).collect()
    }
}

/// The symbols of a word while they are merged, as a linked list. A merged symbol is at the
/// position of its first character.
struct Chain {
    symbols: Vec<u32>,
    /// The position of the next symbol; for the last symbol, the number of characters.
    next: Vec<usize>,
    previous: Vec<Option<usize>>,
    alive: Vec<bool>,
}

impl Chain {
    fn new(count: usize, symbol: impl Fn(usize) -> u32) -> Chain {
        Chain {
            symbols: (0..count).map(symbol).collect(),
            next: (1..=count).collect(),
            previous: (0..count).map(|number| number.checked_sub(1)).collect(),
            alive: vec![true; count],
        }
    }

    fn previous(&self, at: usize) -> Option<usize> {
        self.previous[at]
    }

    /// The symbol at `left` and the one after it.
    fn pair(&self, left: usize) -> Option<(u32, u32)> {
        let right = *self.symbols.get(self.next[left])?;
        self.alive[left].then_some((self.symbols[left], right))
    }

    /// Replaces the pair at `left` by one symbol.
    fn merge(&mut self, left: usize, symbol: u32) {
        let right = self.next[left];
        self.alive[right] = false;
        self.symbols[left] = symbol;
        self.next[left] = self.next[right];
        if let Some(previous) = self.previous.get_mut(self.next[left]) {
            *previous = Some(left);
        }
    }

    /// The first and the end position of each remaining symbol.
    fn spans(&self) -> impl Iterator<Item = (usize, usize)> {
        (0..self.alive.len()).filter(|at| self.alive[*at]).map(|at| (at, self.next[at]))
    }
}

/// The first special token in a text, with its position.
fn first_special(text: &str) -> Option<(usize, &'static str)> {
    text.match_indices('<').find_map(|(start, _)| {
        let mut all = SPECIAL.into_iter().chain([MASK]);
        Some((start, all.find(|special| text[start..].starts_with(special))?))
    })
}

/// White space as defined by Python's `str`: Unicode's, and four ASCII separators.
pub fn is_space(character: char) -> bool {
    character.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&character)
}

//! Near-equal texts: MinHash of character 5-grams finds candidates (A. Broder, "On the resemblance and
//! containment of documents", 1997), and the Jaccard index of the 5-grams themselves decides.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hasher;

use minhash_rs::prelude::{LshIndex, MinHash, NoStore, QueryState};
use siphasher::sip::SipHasher13;

use crate::data::marks::collapsed;

/// The characters of one shingle.
const SHINGLE: usize = 5;

/// 32 bands of 4: of two texts that share 0.8 of their 5-grams, one pair in ten million is missed; of
/// two that share 0.5, one in eight.
const PERMUTATIONS: usize = 128;
const BANDS: usize = 32;

/// The most candidates of one text that are compared, those with the most bands in common first. A
/// phrase that half of the texts share must not make their number quadratic.
const MOST_CANDIDATES: usize = 256;

type Signature = MinHash<u32, PERMUTATIONS>;

/// Texts that are equal or near-equal.
pub struct NearTexts {
    /// For each text the number of its group; `None` for an empty text.
    pub group_of: Vec<Option<usize>>,
    /// The texts of each group, which are equal but for case and runs of white space.
    pub groups: Vec<Vec<usize>>,
    /// For each group the near-equal ones, with the share of the 5-grams that they have in common.
    pub near: Vec<Vec<(usize, f64)>>,
}

/// Finds the texts that share at least `least` of their 5-grams, without case and runs of white space.
pub fn near_texts(texts: &[&str], least: f64) -> NearTexts {
    let plain: Vec<String> = texts.iter().map(|text| collapsed(text).to_lowercase()).collect();
    let mut places: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (place, text) in plain.iter().enumerate().filter(|(_, text)| !text.is_empty()) {
        places.entry(text).or_default().push(place);
    }
    let shingles: Vec<BTreeSet<u64>> = places.keys().map(|text| shingles(text)).collect();
    let groups: Vec<Vec<usize>> = places.into_values().collect();
    let mut group_of = vec![None; texts.len()];
    for (group, places) in groups.iter().enumerate() {
        places.iter().for_each(|place| group_of[*place] = Some(group));
    }
    let signatures: Vec<Signature> =
        shingles.iter().map(|shingles| shingles.iter().copied().collect()).collect();
    let index: LshIndex<Signature, PERMUTATIONS, BANDS, NoStore> =
        LshIndex::from_signatures(signatures.iter().cloned());
    let mut state = QueryState::new();
    let mut near = vec![Vec::new(); groups.len()];
    for one in 0..groups.len() {
        let candidates = index.candidates(&signatures[one], &mut state);
        for candidate in candidates.iter().take(MOST_CANDIDATES) {
            let other = candidate.id as usize;
            let is_known = |(it, _): &(usize, f64)| *it == other;
            if other == one || near[one].iter().any(is_known) {
                continue;
            }
            let similarity = jaccard(&shingles[one], &shingles[other]);
            if similarity >= least {
                near[one].push((other, similarity));
                near[other].push((one, similarity));
            }
        }
    }
    near.iter_mut().for_each(|near| near.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))));
    NearTexts { group_of, groups, near }
}

/// Hashes of all runs of five characters; a shorter text is one run.
fn shingles(text: &str) -> BTreeSet<u64> {
    let ends: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    let runs = (ends.len() - 1).max(SHINGLE) - SHINGLE + 1;
    let run = |start: usize| &text[ends[start]..ends[(start + SHINGLE).min(ends.len() - 1)]];
    (0..runs).map(|start| hash(run(start))).collect()
}

/// SipHash with fixed keys: the same on every machine.
fn hash(run: &str) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(run.as_bytes());
    hasher.finish()
}

fn jaccard(a: &BTreeSet<u64>, b: &BTreeSet<u64>) -> f64 {
    let common = a.intersection(b).count();
    common as f64 / (a.len() + b.len() - common).max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::near_texts;

    /// Pairs of texts in different groups, with their similarity.
    fn near(texts: &[&str], least: f64) -> Vec<(usize, usize, f64)> {
        let found = near_texts(texts, least);
        let of = |group: usize| found.groups[group][0];
        let pairs = found.near.iter().enumerate().flat_map(|(one, near)| {
            near.iter().map(move |(other, similarity)| (of(one), of(*other), *similarity))
        });
        pairs.filter(|(a, b, _)| a < b).collect()
    }

    #[test]
    fn texts_that_differ_in_case_and_spaces_are_one_group() {
        let texts = ["Nice  weather today", "", "something else", "nice weather TODAY ", ""];
        let found = near_texts(&texts, 1.0);
        assert_eq!(found.groups, [vec![0, 3], vec![2]]);
        assert_eq!(found.group_of, [Some(0), None, Some(1), Some(0), None]);
    }

    #[test]
    fn the_similarity_is_the_jaccard_index_of_five_character_runs() {
        // "abcdefgh" has abcde, bcdef, cdefg, defgh; "abcdefgx" has abcde, bcdef, cdefg, defgx.
        assert_eq!(near(&["abcdefgh", "abcdefgx"], 0.5), [(0, 1, 0.6)]);
        assert_eq!(near(&["abcdefgh", "abcdefgx"], 0.7), []);
        assert_eq!(near(&["ab", "ba"], 0.5), []);
    }
}

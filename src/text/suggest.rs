//! The nearest name to one that was not found, for "did you mean" in every message that refuses
//! a name: stages, outputs, parameters, variables, profiles.

/// The candidate that a person most likely meant, if one is near enough to offer.
///
/// Nearness is Damerau-Levenshtein distance, where a swap of neighbours counts once. A third of
/// the letters may differ: `lerning_rate` finds `learning_rate`, `abc` does not find `xyz`.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = name.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| {
            let distance = strsim::damerau_levenshtein(&folded, &candidate.to_lowercase());
            (distance, candidate)
        })
        .filter(|(distance, candidate)| {
            let letters = name.chars().count().max(candidate.chars().count());
            *distance <= (letters / 3).max(1) && *distance < letters
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use crate::text::suggest::nearest;

    #[test]
    fn a_slip_of_the_pen_finds_its_name() {
        let names = ["learning_rate", "epochs", "seed"];
        assert_eq!(nearest("lerning_rate", names), Some("learning_rate"));
        assert_eq!(nearest("epohcs", names), Some("epochs"));
        assert_eq!(nearest("Seed", names), Some("seed"));
    }

    #[test]
    fn another_word_finds_nothing() {
        assert_eq!(nearest("dropout", ["learning_rate", "epochs"]), None);
        assert_eq!(nearest("a", ["b"]), None);
    }
}

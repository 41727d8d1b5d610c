//! The nearest name to one that was not found, for "did you mean" in messages that refuse a name:
//! labels, fields, stages, outputs, parameters.

use crate::stage::error::quoted;

/// The candidate that a person most likely meant, if one is near enough to suggest.
///
/// Distance is Damerau-Levenshtein without regard to case, in which a swap of two neighbours
/// counts once. At most a third of the letters may differ, but always one, and never all of them:
/// `lerning_rate` finds `learning_rate`, `abc` does not find `xyz`.
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

/// Names for a message, at most ten, the nearest to `wanted` first: `` `a`, `b` and 3 more ``.
pub fn list_names<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    let mut names: Vec<&str> = names.into_iter().collect();
    if let Some(found) = nearest(wanted, names.iter().copied()) {
        // A stable sort: the others keep their order.
        names.sort_by_key(|name| *name != found);
    }
    let more = names.len().saturating_sub(10);
    let mut list = quoted(names.iter().take(10));
    if more > 0 {
        list += &format!(" and {more} more");
    }
    list
}

#[cfg(test)]
mod tests {
    use crate::data::nearest::nearest;

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

//! The name that a wrong one may have meant.

/// The candidate most like `name`, if one is like it at all.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = name.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| {
            (strsim::damerau_levenshtein(&wanted, &candidate.to_lowercase()), candidate)
        })
        .filter(|(distance, candidate)| *distance <= candidate.chars().count().max(3) / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Names for a message, the one nearest to `wanted` first, at most ten: `` `a`, `b` ``.
pub fn list_names<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    let mut names: Vec<&str> = names.into_iter().collect();
    if let Some(found) = nearest(wanted, names.iter().copied()) {
        // A stable sort: the others keep their order.
        names.sort_by_key(|name| *name != found);
    }
    let more = names.len().saturating_sub(10);
    let mut list =
        names.iter().take(10).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if more > 0 {
        list += &format!(" and {more} more");
    }
    list
}

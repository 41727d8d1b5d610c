//! Which run of the log a person means.

use super::RunLogError;

/// By `last`, `last~1` and so on, by the beginning of an id, or by its last three digits. `ids` are
/// sorted, and some.
pub(super) fn pick<'a>(ids: &'a [String], name: &str) -> Result<&'a String, RunLogError> {
    if let Some(rest) = name.strip_prefix("last") {
        let back = match rest.strip_prefix('~') {
            None if rest.is_empty() => Some(0),
            None => None,
            Some("") => Some(1),
            Some(number) => number.parse::<usize>().ok(),
        };
        let back = back.ok_or_else(|| RunLogError::Unknown { name: name.to_owned() })?;
        let found = ids.len().checked_sub(back + 1).and_then(|place| ids.get(place));
        let too_few = || RunLogError::TooFew { name: name.to_owned(), runs: ids.len() };
        return found.ok_or_else(too_few);
    }
    let named = |id: &&String| id.starts_with(name) || id.rsplit('-').next() == Some(name);
    let found: Vec<&String> = ids.iter().filter(named).filter(|_| !name.is_empty()).collect();
    match found[..] {
        [] => Err(RunLogError::Unknown { name: name.to_owned() }),
        [only] => Ok(only),
        _ => {
            let ids = found.iter().rev().take(5).map(|id| (*id).clone()).collect();
            Err(RunLogError::Ambiguous { name: name.to_owned(), ids })
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::results::run_log::pick::{RunLogError, pick};

    #[test]
    fn a_run_is_named_by_its_place_its_beginning_or_its_last_digits() {
        let ids = ["261122-101010-100", "261123-154712-483", "261123-154712-484"];
        let ids = ids.map(str::to_owned);
        let picked = |name: &str| pick(&ids, name).unwrap().as_str();
        assert_eq!(picked("last"), ids[2]);
        assert_eq!(picked("last~1"), ids[1]);
        assert_eq!(picked("last~"), ids[1]);
        assert_eq!(picked("261122"), ids[0]);
        assert_eq!(picked("483"), ids[1]);
        assert!(matches!(pick(&ids, "261123"), Err(RunLogError::Ambiguous { .. })));
        assert!(matches!(pick(&ids, "last~3"), Err(RunLogError::TooFew { .. })));
        for unknown in ["last~x", "lasting", "", "7"] {
            assert!(matches!(pick(&ids, unknown), Err(RunLogError::Unknown { .. })), "{unknown}");
        }
    }
}

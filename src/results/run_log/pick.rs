//! Which run of the log the user means.

/// Why a name does not mean one run.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PickError {
    #[error("there is no run `{name}` in the log")]
    Unknown { name: String },
    #[error("the log has {runs} runs, so there is no `{name}`")]
    TooFew { name: String, runs: usize },
    #[error("`{name}` is the beginning of several runs: {}", ids.join(", "))]
    Ambiguous { name: String, ids: Vec<String> },
}

/// Finds a run by `last`, `last~1` and so on, by the beginning of its id, or by its last three
/// digits. `ids` are sorted and not empty.
pub fn pick<'a>(ids: &'a [String], name: &str) -> Result<&'a String, PickError> {
    if let Some(rest) = name.strip_prefix("last") {
        let back = match rest.strip_prefix('~') {
            None if rest.is_empty() => Some(0),
            None => None,
            Some("") => Some(1),
            Some(number) => number.parse::<usize>().ok(),
        };
        let back = back.ok_or_else(|| PickError::Unknown { name: name.to_owned() })?;
        let found = ids.len().checked_sub(back + 1).and_then(|place| ids.get(place));
        let too_few = || PickError::TooFew { name: name.to_owned(), runs: ids.len() };
        return found.ok_or_else(too_few);
    }
    let named = |id: &&String| id.starts_with(name) || id.rsplit('-').next() == Some(name);
    let found: Vec<&String> = ids.iter().filter(named).filter(|_| !name.is_empty()).collect();
    match found[..] {
        [] => Err(PickError::Unknown { name: name.to_owned() }),
        [only] => Ok(only),
        _ => {
            let ids = found.iter().rev().take(5).map(|id| (*id).clone()).collect();
            Err(PickError::Ambiguous { name: name.to_owned(), ids })
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::results::run_log::pick::{PickError, pick};

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
        assert!(matches!(pick(&ids, "261123"), Err(PickError::Ambiguous { .. })));
        assert!(matches!(pick(&ids, "last~3"), Err(PickError::TooFew { .. })));
        for unknown in ["last~x", "lasting", "", "7"] {
            assert!(matches!(pick(&ids, unknown), Err(PickError::Unknown { .. })), "{unknown}");
        }
    }
}

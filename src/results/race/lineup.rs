//! Who meets whom: the rows of a sweep as configurations and meetings.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::results::race::error::RaceError;
use crate::results::sweep::Asked;
use crate::results::sweep::combine::SweepRow;

/// A race before it begins.
#[derive(Debug)]
pub struct Lineup {
    /// The keys whose values are the meetings.
    pub over: Vec<String>,
    /// The other keys.
    pub keys: Vec<String>,
    pub meetings: usize,
    /// The values of each configuration, in the order of the keys, and its row of the sweep at each meeting.
    pub configurations: Vec<(Values, Vec<usize>)>,
}

pub type Values = Vec<Option<Value>>;

/// Divides the rows of a sweep.
pub fn line_up(rows: &[SweepRow], asked: &Asked) -> Result<Lineup, RaceError> {
    let over = over(asked)?;
    let (shared, own): (Vec<usize>, Vec<usize>) =
        (0..asked.keys.len()).partition(|key| over.contains(&asked.keys[*key]));
    let part = |row: &SweepRow, keys: &[usize]| -> Values {
        keys.iter().map(|key| row.values[*key].clone()).collect()
    };
    let mut meetings: Vec<Values> = Vec::new();
    let mut found: Vec<(Values, BTreeMap<usize, usize>)> = Vec::new();
    for (row, it) in rows.iter().enumerate() {
        let (meeting, values) = (part(it, &shared), part(it, &own));
        let meeting = place_of(&mut meetings, |known| *known == meeting, || meeting.clone());
        let new = || (values.clone(), BTreeMap::new());
        let place = place_of(&mut found, |(known, _)| *known == values, new);
        found[place].1.insert(meeting, row);
    }
    let all = || over.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(" and ");
    if meetings.len() < 2 {
        return Err(RaceError::OneMeeting { over: all() });
    }
    if found.len() < 2 {
        return Err(RaceError::OneConfiguration);
    }
    let order = in_turn(&meetings);
    let at_each = |(values, of_meeting): (Values, BTreeMap<usize, usize>)| {
        let rows = order.iter().map(|meeting| of_meeting.get(meeting).copied());
        Some((values, rows.collect::<Option<Vec<usize>>>()?))
    };
    let configurations: Option<Vec<_>> = found.into_iter().map(at_each).collect();
    let configurations = configurations.ok_or_else(|| RaceError::Ragged { over: all() })?;
    let keys = own.iter().map(|key| asked.keys[*key].clone()).collect();
    Ok(Lineup { meetings: meetings.len(), keys, configurations, over })
}

/// The keys of the meetings: those of `over`, or else those of seeds and folds.
fn over(asked: &Asked) -> Result<Vec<String>, RaceError> {
    if !asked.over.is_empty() {
        return Ok(asked.over.clone());
    }
    let is_usual = |key: &&String| matches!(key.rsplit('.').next(), Some("seed" | "fold"));
    let usual: Vec<String> = asked.keys.iter().filter(is_usual).cloned().collect();
    match usual.is_empty() {
        true => Err(RaceError::NoMeetings { keys: asked.keys.clone() }),
        false => Ok(usual),
    }
}

fn place_of<T>(known: &mut Vec<T>, is_it: impl Fn(&T) -> bool, new: impl Fn() -> T) -> usize {
    known.iter().position(is_it).unwrap_or_else(|| {
        known.push(new());
        known.len() - 1
    })
}

/// The order of the meetings: the values of each key take turns, so that two seeds of one fold, which have
/// the same examples, do not follow each other.
fn in_turn(meetings: &[Vec<Option<Value>>]) -> Vec<usize> {
    let mut left: Vec<usize> = (0..meetings.len()).collect();
    let mut order: Vec<usize> = Vec::new();
    while !left.is_empty() {
        let used = |meeting: &usize| -> usize {
            let values = meetings[*meeting].iter().enumerate();
            let times = |(key, value): (usize, &Option<Value>)| {
                order.iter().filter(|taken| meetings[**taken][key] == *value).count()
            };
            values.map(times).sum()
        };
        // The first of equals.
        let next = left.iter().enumerate().min_by_key(|(_, meeting)| used(meeting));
        let Some(at) = next.map(|(at, _)| at) else { break };
        order.push(left.remove(at));
    }
    order
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::in_turn;

    #[test]
    fn folds_and_seeds_take_turns() {
        let meetings: Vec<_> = (0..3)
            .flat_map(|fold| (0..2).map(move |seed| vec![Some(json!(fold)), Some(json!(seed))]))
            .collect();
        let order: Vec<(usize, usize)> =
            in_turn(&meetings).into_iter().map(|meeting| (meeting / 2, meeting % 2)).collect();
        assert_eq!(order, [(0, 0), (1, 1), (2, 0), (0, 1), (1, 0), (2, 1)]);
    }
}

//! What was pushed to a remote or pulled from one: a line a stage, and a sum.

use crate::remote::carried::{Carried, Outcome};
use crate::text::figures::{bytes, count};
use crate::text::terminal::{self, fit, printable, wrapped};

/// The name of a variant may be long.
const NAME_WIDTH: usize = 40;

pub fn table(carried: &[Carried], remote: &str) -> String {
    let row = |carried: &Carried| {
        let size = match carried.objects {
            0 => String::new(),
            objects => format!(", {}, {}", count(objects as usize, "object"), bytes(carried.bytes)),
        };
        let outcome = match (carried.outcome, &carried.message) {
            (_, Some(message)) => printable(message),
            (Outcome::Pushed, None) => format!("pushed{size}"),
            (Outcome::Pulled, None) => format!("pulled{size}"),
            (Outcome::Available, None) => format!("is in `{remote}`, {}", bytes(carried.bytes)),
            (Outcome::There, None) => "is there already".to_owned(),
            (Outcome::Absent, None) => format!("is not in `{remote}`"),
            (Outcome::Refused, None) => "is not used".to_owned(),
        };
        vec![fit(&printable(&carried.stage), NAME_WIDTH), outcome]
    };
    terminal::table(carried.iter().map(row).collect())
}

pub fn sum(carried: &[Carried], remote: &str) -> String {
    let of = |outcome: Outcome| carried.iter().filter(move |carried| carried.outcome == outcome);
    let moved = |outcome: Outcome| {
        let objects: u64 = of(outcome).map(|carried| carried.objects).sum();
        let size: u64 = of(outcome).map(|carried| carried.bytes).sum();
        let results = count(of(outcome).count(), "result");
        (results, format!("{}, {}", count(objects as usize, "object"), bytes(size)))
    };
    let mut parts = Vec::new();
    for (outcome, verb) in [(Outcome::Pushed, "pushed to"), (Outcome::Pulled, "pulled from")] {
        if of(outcome).count() > 0 {
            let (results, size) = moved(outcome);
            parts.push(format!("{results} {verb} `{remote}`: {size}"));
        }
    }
    if of(Outcome::Available).count() > 0 {
        let size: u64 = of(Outcome::Available).map(|carried| carried.bytes).sum();
        let results = count(of(Outcome::Available).count(), "result");
        parts.push(format!("would pull {results} from `{remote}`: {}", bytes(size)));
    }
    let others = [
        (Outcome::There, "there already"),
        (Outcome::Absent, "not there"),
        (Outcome::Refused, "not used"),
    ];
    for (outcome, what) in others {
        match of(outcome).count() {
            0 => {}
            some => parts.push(format!("{} {what}", count(some, "result"))),
        }
    }
    let text = if parts.is_empty() { "nothing to do".to_owned() } else { parts.join("; ") };
    wrapped(&text, 0).trim_end().to_owned()
}

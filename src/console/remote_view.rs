//! Results pushed to a remote or pulled from one: a line per stage, and a summary.

use crate::console::view::{Page, View, json_lines};
use crate::remote::transfer::{StageTransfer, TransferOutcome};
use crate::text::figures::{bytes, count};
use crate::text::terminal::{self, fit, printable, wrapped};

/// What was pushed to a remote, or pulled from one.
pub struct TransfersView<'a> {
    pub transfers: &'a [StageTransfer],
    pub remote: &'a str,
}

impl View for TransfersView<'_> {
    fn text(&self, _: &Page) -> String {
        table(self.transfers, self.remote)
    }

    fn json(&self) -> String {
        json_lines(self.transfers)
    }
}

/// The width of names in columns, at most; those of variants may be long.
const NAME_WIDTH: usize = 40;

fn table(carried: &[StageTransfer], remote: &str) -> String {
    let row = |carried: &StageTransfer| {
        let size = match carried.objects {
            0 => String::new(),
            objects => format!(", {}, {}", count(objects as usize, "object"), bytes(carried.bytes)),
        };
        let outcome = match (carried.outcome, &carried.message) {
            (_, Some(message)) => printable(message),
            (TransferOutcome::Pushed, None) => format!("pushed{size}"),
            (TransferOutcome::Pulled, None) => format!("pulled{size}"),
            (TransferOutcome::Available, None) => {
                format!("is in `{remote}`, {}", bytes(carried.bytes))
            }
            (TransferOutcome::There, None) => "is already there".to_owned(),
            (TransferOutcome::Absent, None) => format!("is not in `{remote}`"),
            (TransferOutcome::Refused, None) => "is not used".to_owned(),
        };
        vec![fit(&printable(&carried.stage), NAME_WIDTH), outcome]
    };
    terminal::table(carried.iter().map(row).collect())
}

/// One sentence about all transfers.
pub fn sum(carried: &[StageTransfer], remote: &str) -> String {
    let of =
        |outcome: TransferOutcome| carried.iter().filter(move |carried| carried.outcome == outcome);
    let moved = |outcome: TransferOutcome| {
        let objects: u64 = of(outcome).map(|carried| carried.objects).sum();
        let size: u64 = of(outcome).map(|carried| carried.bytes).sum();
        let results = count(of(outcome).count(), "result");
        (results, format!("{}, {}", count(objects as usize, "object"), bytes(size)))
    };
    let mut parts = Vec::new();
    for (outcome, verb) in
        [(TransferOutcome::Pushed, "pushed to"), (TransferOutcome::Pulled, "pulled from")]
    {
        if of(outcome).count() > 0 {
            let (results, size) = moved(outcome);
            parts.push(format!("{results} {verb} `{remote}`: {size}"));
        }
    }
    if of(TransferOutcome::Available).count() > 0 {
        let size: u64 = of(TransferOutcome::Available).map(|carried| carried.bytes).sum();
        let results = count(of(TransferOutcome::Available).count(), "result");
        parts.push(format!("would pull {results} from `{remote}`: {}", bytes(size)));
    }
    let others = [
        (TransferOutcome::There, "already there"),
        (TransferOutcome::Absent, "not there"),
        (TransferOutcome::Refused, "not used"),
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

//! What was pushed to a remote or pulled from it: one line per stage, and a total.

use crate::console::style::TextStyle;
use crate::console::view::{View, json_lines};
use crate::remote::transfer::{StageTransfer, TransferOutcome};
use crate::text::figures::{bytes, count};
use crate::text::terminal::{self, fit, printable, wrapped};

/// How many columns a name gets. Variants have long names.
const NAME_WIDTH: usize = 40;

/// What was transferred to or from a remote.
pub struct TransferView<'a> {
    pub transfers: &'a [StageTransfer],
    /// The name of the remote.
    pub remote: &'a str,
}

impl View for TransferView<'_> {
    fn text(&self, _: &TextStyle) -> String {
        table(self.transfers, self.remote)
    }

    fn json(&self) -> String {
        json_lines(self.transfers)
    }
}

fn table(transfers: &[StageTransfer], remote: &str) -> String {
    let row = |transfer: &StageTransfer| {
        let size = match transfer.objects {
            0 => String::new(),
            objects => {
                format!(", {}, {}", count(objects as usize, "object"), bytes(transfer.bytes))
            }
        };
        let outcome = match (transfer.outcome, &transfer.message) {
            (_, Some(message)) => printable(message),
            (TransferOutcome::Pushed, None) => format!("pushed{size}"),
            (TransferOutcome::Pulled, None) => format!("pulled{size}"),
            (TransferOutcome::Available, None) => {
                format!("is in `{remote}`, {}", bytes(transfer.bytes))
            }
            (TransferOutcome::There, None) => "is there already".to_owned(),
            (TransferOutcome::Absent, None) => format!("is not in `{remote}`"),
            (TransferOutcome::Refused, None) => "is not used".to_owned(),
        };
        vec![fit(&printable(&transfer.stage), NAME_WIDTH), outcome]
    };
    terminal::table(transfers.iter().map(row).collect())
}

/// The totals, for standard error.
pub fn sum(transfers: &[StageTransfer], remote: &str) -> String {
    let of = |outcome: TransferOutcome| {
        transfers.iter().filter(move |transfer| transfer.outcome == outcome)
    };
    let moved = |outcome: TransferOutcome| {
        let objects: u64 = of(outcome).map(|transfer| transfer.objects).sum();
        let size: u64 = of(outcome).map(|transfer| transfer.bytes).sum();
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
        let size: u64 = of(TransferOutcome::Available).map(|transfer| transfer.bytes).sum();
        let results = count(of(TransferOutcome::Available).count(), "result");
        parts.push(format!("would pull {results} from `{remote}`: {}", bytes(size)));
    }
    let others = [
        (TransferOutcome::There, "there already"),
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

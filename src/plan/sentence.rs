//! The decisions of a plan as sentences for people.

use crate::plan::{Decision, Frozen, PlannedStage};
use crate::text::variants::names;

/// What happens to a stage, in words.
pub fn stage_sentence(planned: &PlannedStage) -> String {
    match &planned.frozen {
        Some(Frozen { differs: Some(reason) }) => format!("frozen, though {reason}"),
        Some(Frozen { differs: None }) => "frozen".to_owned(),
        None => sentence(&planned.decision),
    }
}

/// Like [`stage_sentence`], for a stage that is not frozen.
pub fn sentence(decision: &Decision) -> String {
    match decision {
        Decision::Hit(_) => "up to date".to_owned(),
        Decision::Run { reason, .. } => reason.to_string(),
        Decision::Wait(wait) => {
            let needed: Vec<&str> =
                wait.stages.iter().chain(&wait.downloads).map(String::as_str).collect();
            match &wait.certain {
                Some(reason) => format!("after {}: {reason}", names(&needed)),
                None => format!("waits for {}, may be cut off", names(&needed)),
            }
        }
    }
}

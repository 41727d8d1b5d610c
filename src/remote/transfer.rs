//! Pushing and pulling the results of many stages, and what happened to each.

use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use crate::files::scratch::Scratch;
use crate::remote::Remote;
use crate::remote::bucket::OnBytes;
use crate::remote::error::RemoteError;
use crate::remote::parallel::{RESULTS, each};
use crate::remote::pull::{Moved, Offer};
use crate::store::Store;
use crate::store::key::Key;
use crate::store::record::Record;

/// What a push or a pull did with the result of one stage.
#[derive(Clone, Debug, Serialize)]
pub struct StageTransfer {
    pub stage: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Key>,
    pub outcome: TransferOutcome,
    /// How many objects had to move, and their size in bytes.
    pub objects: u64,
    pub bytes: u64,
    /// Why the result did not move.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TransferOutcome {
    Pushed,
    Pulled,
    /// The remote has it; nothing was pulled.
    Available,
    /// The destination had it in full already.
    There,
    /// The source does not have it.
    Absent,
    /// The remote has a record that must not be used.
    Refused,
}

impl StageTransfer {
    /// A result that did not move.
    pub fn without(
        stage: &str,
        outcome: TransferOutcome,
        message: Option<String>,
    ) -> StageTransfer {
        let stage = stage.to_owned();
        StageTransfer { stage, key: None, outcome, objects: 0, bytes: 0, message }
    }

    fn moved(stage: &str, key: Key, outcome: TransferOutcome, moved: Moved) -> StageTransfer {
        let outcome =
            if moved.record || moved.objects > 0 { outcome } else { TransferOutcome::There };
        let Moved { objects, bytes, .. } = moved;
        let stage = stage.to_owned();
        StageTransfer { stage, key: Some(key), outcome, objects, bytes, message: None }
    }
}

/// Uploads results, given with the names of their stages.
pub fn push(
    results: &[(String, Record)],
    remote: &Remote,
    store: &Store,
    overwrite: bool,
    on_bytes: &OnBytes,
) -> Result<Vec<StageTransfer>, RemoteError> {
    let transfers = Mutex::new(Vec::new());
    let places: Vec<usize> = (0..results.len()).collect();
    each(&places, RESULTS, |place| -> Result<(), RemoteError> {
        let (stage, record) = &results[*place];
        let moved = remote.push(record, store, overwrite, on_bytes);
        let moved = moved.map_err(|trouble| remote.settings.error(trouble))?;
        let of_stage = StageTransfer::moved(stage, record.key, TransferOutcome::Pushed, moved);
        transfers.lock().unwrap_or_else(PoisonError::into_inner).push((*place, of_stage));
        Ok(())
    })?;
    Ok(in_order(transfers))
}

/// Downloads the results of keys, given with the names of their stages. Returns each record with
/// what happened to its result. Without a `scratch` folder, only asks what the remote has. `found`
/// is called with the number of bytes that a record adds to the download.
pub fn pull(
    wanted: &[(String, Key)],
    remote: &Remote,
    store: &Store,
    scratch: Option<&Scratch>,
    (found, on_bytes): (&(dyn Fn(u64) + Sync), &OnBytes),
) -> Result<Vec<(StageTransfer, Option<Record>)>, RemoteError> {
    let transfers = Mutex::new(Vec::new());
    let places: Vec<usize> = (0..wanted.len()).collect();
    let error = |trouble| remote.settings.error(trouble);
    each(&places, RESULTS, |place| -> Result<(), RemoteError> {
        let (stage, key) = &wanted[*place];
        let of_stage = match remote.ask(*key, store).map_err(error)? {
            Offer::Nothing => (StageTransfer::without(stage, TransferOutcome::Absent, None), None),
            Offer::Refused(refusal) => {
                let message = format!("its record there {refusal}");
                (StageTransfer::without(stage, TransferOutcome::Refused, Some(message)), None)
            }
            Offer::Record(record) => {
                let bytes = remote.missing_bytes(&record, store);
                found(bytes);
                let of_stage = match scratch {
                    Some(scratch) => {
                        let moved = remote.pull(&record, store, scratch, on_bytes);
                        StageTransfer::moved(
                            stage,
                            *key,
                            TransferOutcome::Pulled,
                            moved.map_err(error)?,
                        )
                    }
                    None => StageTransfer {
                        key: Some(*key),
                        bytes,
                        ..StageTransfer::without(stage, TransferOutcome::Available, None)
                    },
                };
                (of_stage, Some(*record))
            }
        };
        transfers.lock().unwrap_or_else(PoisonError::into_inner).push((*place, of_stage));
        Ok(())
    })?;
    Ok(in_order(transfers))
}

fn in_order<T>(transfers: Mutex<Vec<(usize, T)>>) -> Vec<T> {
    let mut transfers = transfers.into_inner().unwrap_or_else(PoisonError::into_inner);
    transfers.sort_by_key(|(place, _)| *place);
    transfers.into_iter().map(|(_, transfers)| transfers).collect()
}

//! What `pipe push` and `pipe pull` did, stage by stage, and the doing of it.

use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use crate::files::scratch::Scratch;
use crate::remote::parallel::{RESULTS, each};
use crate::remote::pull::{Moved, Offer};
use crate::remote::{Meter, Remote, RemoteError};
use crate::store::Store;
use crate::store::key::Key;
use crate::store::record::Record;

/// One stage's result.
#[derive(Clone, Debug, Serialize)]
pub struct Carried {
    pub stage: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Key>,
    pub outcome: Outcome,
    /// Those that had to move, and their bytes.
    pub objects: u64,
    pub bytes: u64,
    /// Why it was not moved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Pushed,
    Pulled,
    /// It could be pulled.
    Available,
    /// It was whole already where it was to go.
    There,
    /// It is not where it would come from.
    Absent,
    /// It is there, but not to be used.
    Refused,
}

impl Carried {
    pub fn without(stage: &str, outcome: Outcome, message: Option<String>) -> Carried {
        let stage = stage.to_owned();
        Carried { stage, key: None, outcome, objects: 0, bytes: 0, message }
    }

    fn moved(stage: &str, key: Key, outcome: Outcome, moved: Moved) -> Carried {
        let outcome = if moved.record || moved.objects > 0 { outcome } else { Outcome::There };
        let Moved { objects, bytes, .. } = moved;
        let stage = stage.to_owned();
        Carried { stage, key: Some(key), outcome, objects, bytes, message: None }
    }
}

/// Uploads results, by the names of their stages.
pub fn push(
    results: &[(String, Record)],
    remote: &Remote,
    store: &Store,
    overwrite: bool,
    meter: &Meter,
) -> Result<Vec<Carried>, RemoteError> {
    let carried = Mutex::new(Vec::new());
    let places: Vec<usize> = (0..results.len()).collect();
    each(&places, RESULTS, |place| -> Result<(), RemoteError> {
        let (stage, record) = &results[*place];
        let moved = remote.push(record, store, overwrite, meter);
        let moved = moved.map_err(|trouble| remote.settings.error(trouble))?;
        let of_stage = Carried::moved(stage, record.key, Outcome::Pushed, moved);
        carried.lock().unwrap_or_else(PoisonError::into_inner).push((*place, of_stage));
        Ok(())
    })?;
    Ok(in_order(carried))
}

/// Downloads the results of keys, by the names of their stages; with each the record, if it is there
/// to be had. Without a `scratch` folder they are only asked for. `found` hears how many bytes a record says there are to download.
pub fn pull(
    wanted: &[(String, Key)],
    remote: &Remote,
    store: &Store,
    scratch: Option<&Scratch>,
    (found, meter): (&(dyn Fn(u64) + Sync), &Meter),
) -> Result<Vec<(Carried, Option<Record>)>, RemoteError> {
    let carried = Mutex::new(Vec::new());
    let places: Vec<usize> = (0..wanted.len()).collect();
    let error = |trouble| remote.settings.error(trouble);
    each(&places, RESULTS, |place| -> Result<(), RemoteError> {
        let (stage, key) = &wanted[*place];
        let of_stage = match remote.ask(*key, store).map_err(error)? {
            Offer::Nothing => (Carried::without(stage, Outcome::Absent, None), None),
            Offer::Refused(refusal) => {
                let message = format!("its record there {refusal}");
                (Carried::without(stage, Outcome::Refused, Some(message)), None)
            }
            Offer::Record(record) => {
                let bytes = remote.missing_bytes(&record, store);
                found(bytes);
                let of_stage = match scratch {
                    Some(scratch) => {
                        let moved = remote.pull(&record, store, scratch, meter);
                        Carried::moved(stage, *key, Outcome::Pulled, moved.map_err(error)?)
                    }
                    None => Carried {
                        key: Some(*key),
                        bytes,
                        ..Carried::without(stage, Outcome::Available, None)
                    },
                };
                (of_stage, Some(*record))
            }
        };
        carried.lock().unwrap_or_else(PoisonError::into_inner).push((*place, of_stage));
        Ok(())
    })?;
    Ok(in_order(carried))
}

fn in_order<T>(carried: Mutex<Vec<(usize, T)>>) -> Vec<T> {
    let mut carried = carried.into_inner().unwrap_or_else(PoisonError::into_inner);
    carried.sort_by_key(|(place, _)| *place);
    carried.into_iter().map(|(_, carried)| carried).collect()
}

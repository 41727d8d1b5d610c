//! Downloading large objects in parts, several at once. The parts are written in order as they
//! arrive, so that after a broken connection what was written is the beginning of the object.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::path::Path as Name;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::remote::bucket::ByteSink;
use crate::remote::error::Trouble;
use crate::remote::server::connection::{PART, PARTS_OF_ONE, Pieces, ServerBucket, Task, within};
use crate::remote::server::failure::{Failure, in_words};

/// How many requests to make for a part whose connection breaks.
const TRIES: u32 = 4;

impl ServerBucket {
    /// Downloads a range in parts, several at once, and writes them in order.
    pub(super) async fn ranges(
        &self,
        name: &Name,
        range: Range<u64>,
        into: &mut dyn ByteSink,
    ) -> Result<(), Failure> {
        let mut next_start = range.start;
        let mut under_way = VecDeque::new();
        while next_start < range.end || !under_way.is_empty() {
            while next_start < range.end && under_way.len() < PARTS_OF_ONE {
                let Some(permit) = self.permit(under_way.is_empty()).await else { break };
                let part = next_start..range.end.min(next_start + PART);
                next_start = part.end;
                let (store, name, timeout) = (Arc::clone(&self.store), name.clone(), self.timeout);
                let (sender, pieces) = unbounded_channel();
                let task = Task(tokio::spawn(async move {
                    let end = send_part(&*store, &name, part, timeout, &sender).await;
                    // The receiver may be gone.
                    let _ = end.map_err(|failure| sender.send(Err(failure)));
                    Ok(())
                }));
                under_way.push_back((pieces, task, permit));
            }
            let Some((mut pieces, _task, _permit)) = under_way.pop_front() else {
                return Err(Failure::lost());
            };
            // Write each piece as it arrives, so that it is kept if the connection breaks.
            while let Some(piece) = pieces.recv().await {
                into.write(&piece?)?;
            }
        }
        Ok(())
    }

    /// Downloads the whole object in one answer.
    pub(super) async fn all(&self, name: &Name, into: &mut dyn ByteSink) -> Result<(), Failure> {
        let answer = within(self.timeout, self.store.get(name)).await?;
        let mut pieces = Pieces::new(answer, self.timeout);
        while let Some(piece) = pieces.next().await? {
            into.write(&piece)?;
        }
        Ok(())
    }
}

/// Requests one part and sends it on piece by piece. After a broken connection, requests the rest
/// of the part.
async fn send_part(
    store: &dyn ObjectStore,
    name: &Name,
    mut part: Range<u64>,
    timeout: Duration,
    pieces: &UnboundedSender<Result<Bytes, Failure>>,
) -> Result<(), Failure> {
    let mut wait = Duration::from_millis(100);
    for tries_left in (0..TRIES).rev() {
        match send_range(store, name, &mut part, timeout, pieces).await {
            Err(failure) if tries_left > 0 && failure.may_pass() => {}
            other => return other,
        }
        tokio::time::sleep(wait.min(timeout)).await;
        wait *= 2;
    }
    Err(Failure::lost())
}

/// Makes one request. Moves the start of `range` past the bytes that arrived.
async fn send_range(
    store: &dyn ObjectStore,
    name: &Name,
    range: &mut Range<u64>,
    timeout: Duration,
    pieces: &UnboundedSender<Result<Bytes, Failure>>,
) -> Result<(), Failure> {
    // The object is shorter or longer than its record says.
    let damaged = || Failure::Trouble(Trouble::Damaged { name: name.to_string() });
    let wanted = Some(GetRange::Bounded(range.clone()));
    let options = GetOptions { range: wanted, ..GetOptions::default() };
    let result = match within(timeout, store.get_opts(name, options)).await {
        Err(Failure::Store(error)) if in_words(&error).starts_with("416") => return Err(damaged()),
        other => other?,
    };
    let mut arriving = Pieces::new(result, timeout);
    while let Some(piece) = arriving.next().await? {
        range.start += piece.len() as u64;
        if range.start > range.end {
            return Err(damaged());
        }
        if pieces.send(Ok(piece)).is_err() {
            return Ok(());
        }
    }
    if range.is_empty() { Ok(()) } else { Err(damaged()) }
}

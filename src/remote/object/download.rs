//! Downloads of large objects: in parts, several at once, taken in their order as they come, so that
//! what there is when a connection breaks is a beginning.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use object_store::path::Path as Name;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::failure::{Failure, in_words};
use super::{Objects, PART, PARTS_OF_ONE, Task, within};
use crate::remote::{Taker, Trouble};

/// How often a part is asked for whose connection breaks.
const TRIES: u32 = 4;

impl Objects {
    /// A range in parts, several at once, taken in their order.
    pub(super) async fn ranges(
        &self,
        name: &Name,
        range: Range<u64>,
        into: &mut dyn Taker,
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
                    // Nobody may be waiting any more.
                    let _ = end.map_err(|failure| sender.send(Err(failure)));
                    Ok(())
                }));
                under_way.push_back((pieces, task, permit));
            }
            let Some((mut pieces, _task, _permit)) = under_way.pop_front() else {
                return Err(Failure::lost());
            };
            // As they come, so that what there is when the connection breaks is kept.
            while let Some(piece) = pieces.recv().await {
                into.take(&piece?)?;
            }
        }
        Ok(())
    }

    /// The whole object in one answer.
    pub(super) async fn all(&self, name: &Name, into: &mut dyn Taker) -> Result<(), Failure> {
        let mut stream = within(self.timeout, self.store.get(name)).await?.into_stream();
        while let Some(piece) = next(self.timeout, &mut stream).await? {
            into.take(&piece)?;
        }
        Ok(())
    }
}

/// Sends one part piece by piece, and asks for the rest of it where its connection breaks.
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

/// One request; `range` begins after what it brought.
async fn send_range(
    store: &dyn ObjectStore,
    name: &Name,
    range: &mut Range<u64>,
    timeout: Duration,
    pieces: &UnboundedSender<Result<Bytes, Failure>>,
) -> Result<(), Failure> {
    // What is there is shorter than its record says, or longer.
    let damaged = || Failure::Trouble(Trouble::Damaged { name: name.to_string() });
    let wanted = Some(GetRange::Bounded(range.clone()));
    let options = GetOptions { range: wanted, ..GetOptions::default() };
    let result = match within(timeout, store.get_opts(name, options)).await {
        Err(Failure::Store(error)) if in_words(&error).starts_with("416") => return Err(damaged()),
        other => other?,
    };
    let mut stream = result.into_stream();
    while let Some(piece) = next(timeout, &mut stream).await? {
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

pub(super) async fn next(
    limit: Duration,
    stream: &mut BoxStream<'static, object_store::Result<Bytes>>,
) -> Result<Option<Bytes>, Failure> {
    match tokio::time::timeout(limit, stream.next()).await {
        Ok(piece) => piece.transpose().map_err(Failure::Store),
        Err(_) => Err(Failure::Silent(limit)),
    }
}

//! The queue between the thread that reads texts and the model. The model takes everything that has
//! been read so far, so that a single typed line is answered at once, and a fast source fills whole
//! batches.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use stages::StageError;
use stages::data::example::Example;

/// How many texts, and about how many bytes of text, are classified at once. The first batches are
/// smaller, so that the first answers come soon, and little work is lost if they were enough.
const FIRST_BATCH: usize = 32;
const BATCH: usize = 512;
const BATCH_BYTES: usize = 8 << 20;

/// A text, or `None` for a blank line, which keeps its place among the answers.
pub type Line = Option<Example>;

/// Texts that wait for the model: never much more than one batch.
pub struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    lines: Vec<Line>,
    bytes: usize,
    /// The size of the next batch.
    batch: usize,
    /// How the source ended. A failure is reported once.
    ended: Option<Result<(), StageError>>,
}

impl State {
    fn is_full(&self) -> bool {
        self.lines.len() >= self.batch || self.bytes >= BATCH_BYTES
    }
}

impl Queue {
    pub fn new() -> Queue {
        let state = State { lines: Vec::new(), bytes: 0, batch: FIRST_BATCH, ended: None };
        Queue { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Adds a line as soon as there is room.
    pub fn push(&self, line: Line) {
        let mut state = self.wait(|state| !state.is_full());
        state.bytes += line.as_ref().map_or(0, size);
        state.lines.push(line);
        self.changed.notify_all();
    }

    /// Says how the source ended.
    pub fn end(&self, how: Result<(), StageError>) {
        self.state().ended = Some(how);
        self.changed.notify_all();
    }

    /// The next batch, of everything that has been read; `None` at the end. With `whole` it waits
    /// for whole batches, which makes them the same each time: for a source that never waits.
    ///
    /// # Errors
    /// The source has failed. All texts before the failure were in earlier batches.
    pub fn next(&self, whole: bool) -> Result<Option<Vec<Line>>, StageError> {
        let mut state = self.wait(|state| {
            let is_ready = if whole { state.is_full() } else { !state.lines.is_empty() };
            is_ready || state.ended.is_some()
        });
        if state.lines.is_empty() {
            return state.ended.replace(Ok(())).unwrap_or(Ok(())).map(|()| None);
        }
        state.bytes = 0;
        state.batch = (2 * state.batch).min(BATCH);
        self.changed.notify_all();
        Ok(Some(std::mem::take(&mut state.lines)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self, until: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let waiting = self.changed.wait_while(self.state(), |state| !until(state));
        waiting.unwrap_or_else(PoisonError::into_inner)
    }
}

fn size(text: &Example) -> usize {
    text.text.len() + text.context.iter().map(String::len).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;

    use stages::StageError;
    use stages::data::example::Example;

    use super::{BATCH, BATCH_BYTES, Line, Queue};

    fn line(text: &str) -> Line {
        Some(Example::of_text(text))
    }

    #[test]
    fn a_line_is_given_out_before_another_one_comes() {
        let queue = Queue::new();
        for text in ["first", "second"] {
            queue.push(line(text));
            assert_eq!(queue.next(false).unwrap(), Some(vec![line(text)]));
        }
        queue.push(line("third"));
        queue.push(None);
        assert_eq!(queue.next(false).unwrap(), Some(vec![line("third"), None]));
        queue.end(Ok(()));
        assert_eq!(queue.next(false).unwrap(), None);
    }

    #[test]
    fn whole_batches_are_the_same_however_fast_the_source_is() {
        let queue = Arc::new(Queue::new());
        let source = Arc::clone(&queue);
        let thread = std::thread::spawn(move || {
            for number in 0..32 + 64 + 128 + 256 + 2 * BATCH + 3 {
                source.push(line(&number.to_string()));
            }
            for _ in 0..2 {
                source.push(line(&"x".repeat(BATCH_BYTES)));
            }
            source.end(Ok(()));
        });
        let mut sizes = Vec::new();
        while let Some(batch) = queue.next(true).unwrap() {
            sizes.push(batch.len());
        }
        thread.join().unwrap();
        assert_eq!(sizes, [32, 64, 128, 256, BATCH, BATCH, 4, 1]);
    }

    #[test]
    fn texts_before_a_failure_are_given_out_first() {
        for whole in [false, true] {
            let queue = Queue::new();
            queue.push(line("good"));
            let problem = "bad".to_owned();
            queue.end(Err(StageError::File { path: PathBuf::from("texts.txt"), problem }));
            assert_eq!(queue.next(whole).unwrap(), Some(vec![line("good")]));
            assert!(queue.next(whole).is_err());
            assert_eq!(queue.next(whole).unwrap(), None);
        }
    }
}

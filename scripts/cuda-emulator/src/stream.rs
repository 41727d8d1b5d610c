//! What a stream is asked to do, at once or late, and graphs of it.

use std::sync::Mutex;

use crate::launch::{self, Work, settings};
use crate::{lock, memory};

/// One thing that a stream does.
#[derive(Clone)]
pub enum Task {
    Launch(Work),
    /// Copies from an address to another one, on either side.
    Copy {
        to: u64,
        from: u64,
        rows: usize,
        width: usize,
        to_pitch: usize,
        from_pitch: usize,
    },
    /// The same from memory of the host that its owner may have changed since.
    Send {
        to: u64,
        bytes: Vec<u8>,
        width: usize,
        to_pitch: usize,
    },
    Fill {
        to: u64,
        value: u8,
        bytes: usize,
    },
    Free(u64),
    /// Memory that a capture asked for, which a graph cannot repeat here.
    Allocate,
}

#[derive(Default)]
struct Streams {
    /// What was asked for and not done so far, if it is done late.
    queue: Vec<Task>,
    capture: Option<Vec<Task>>,
    /// After a fault nothing works any more, as on a GPU.
    fault: bool,
}

static STREAMS: Mutex<Streams> =
    Mutex::new(Streams { queue: Vec::new(), capture: None, fault: false });

pub const SUCCESS: i32 = 0;
pub const ILLEGAL_ADDRESS: i32 = 700;

pub fn begin_capture() {
    lock(&STREAMS).capture = Some(Vec::new());
}

pub fn end_capture() -> Option<Vec<Task>> {
    lock(&STREAMS).capture.take()
}

pub fn is_capturing() -> bool {
    lock(&STREAMS).capture.is_some()
}

/// Does a task, or records it.
pub fn ask(task: Task) -> i32 {
    let streams = &mut *lock(&STREAMS);
    if streams.fault {
        return ILLEGAL_ADDRESS;
    }
    if let Some(capture) = &mut streams.capture {
        capture.push(task);
        return SUCCESS;
    }
    if settings().late {
        streams.queue.push(task);
        return SUCCESS;
    }
    streams.finish(&task)
}

/// Does all that was asked for.
pub fn wait() -> i32 {
    let streams = &mut *lock(&STREAMS);
    if streams.fault {
        return ILLEGAL_ADDRESS;
    }
    for task in std::mem::take(&mut streams.queue) {
        if streams.finish(&task) != SUCCESS {
            return ILLEGAL_ADDRESS;
        }
    }
    SUCCESS
}

/// Repeats what was captured.
pub fn repeat(graph: &[Task]) -> i32 {
    graph.iter().map(|task| ask(task.clone())).find(|code| *code != SUCCESS).unwrap_or(SUCCESS)
}

impl Streams {
    fn finish(&mut self, task: &Task) -> i32 {
        match done(task) {
            Ok(()) => SUCCESS,
            Err(why) => {
                eprintln!("cuda-emulator: {why}");
                self.fault = true;
                ILLEGAL_ADDRESS
            }
        }
    }
}

fn done(task: &Task) -> Result<(), String> {
    match task {
        Task::Launch(work) => launch::run(work, settings()),
        Task::Copy { to, from, rows, width, to_pitch, from_pitch } => {
            for row in 0..*rows {
                // SAFETY: the caller owns what is not the device's, and was asked for what is.
                unsafe {
                    std::ptr::copy(
                        (from + (row * from_pitch) as u64) as *const u8,
                        (to + (row * to_pitch) as u64) as *mut u8,
                        *width,
                    )
                };
            }
            Ok(())
        }
        Task::Send { to, bytes, width, to_pitch } => {
            for (row, from) in bytes.chunks(*width).enumerate() {
                let to = to + (row * to_pitch) as u64;
                device(to, from.len())?;
                // SAFETY: it is memory of the device.
                unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), to as *mut u8, from.len()) };
            }
            Ok(())
        }
        Task::Fill { to, value, bytes } => {
            device(*to, *bytes)?;
            // SAFETY: it is memory of the device.
            unsafe { std::ptr::write_bytes(*to as *mut u8, *value, *bytes) };
            Ok(())
        }
        Task::Free(start) => match memory::free(*start) {
            true => Ok(()),
            false => Err(format!("{start:#x} is freed, where nothing was allocated")),
        },
        Task::Allocate => Err("a graph that allocates memory is repeated".into()),
    }
}

fn device(start: u64, bytes: usize) -> Result<(), String> {
    if bytes == 0 || memory::is_device(start, bytes) {
        Ok(())
    } else {
        Err(format!("a copy of {bytes} bytes to {start:#x}, which is no memory of the device"))
    }
}

//! What a stream is asked to do, at once or late, and graphs of it.

use std::cell::Cell;
use std::sync::Mutex;

use crate::launch::{self, Work, settings};
use crate::{lock, memory};

/// One thing that a stream does.
#[derive(Clone)]
pub enum Task {
    Launch(Work),
    Copy(Copy),
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

/// A copy of rows from an address to another one, on either side.
#[derive(Clone)]
pub struct Copy {
    pub to: u64,
    pub from: u64,
    pub rows: usize,
    pub width: usize,
    pub to_pitch: usize,
    pub from_pitch: usize,
    pub writes_device: bool,
    pub reads_device: bool,
}

/// What is recorded.
struct Capture {
    tasks: Vec<Task>,
    mode: i32,
    /// Something was asked for that a capture does not allow.
    broken: bool,
}

#[derive(Default)]
struct Streams {
    /// What was asked for and not done so far, if it is done late.
    queue: Vec<Task>,
    capture: Option<Capture>,
    /// After a fault nothing works any more, as on a GPU.
    fault: bool,
}

static STREAMS: Mutex<Streams> =
    Mutex::new(Streams { queue: Vec::new(), capture: None, fault: false });

pub const SUCCESS: i32 = 0;
pub const ILLEGAL_ADDRESS: i32 = 700;
const CAPTURE_UNSUPPORTED: i32 = 900;
const CAPTURE_INVALIDATED: i32 = 901;
const ILLEGAL_STATE: i32 = 401;
/// `CU_STREAM_CAPTURE_MODE_GLOBAL`, and the one in which a thread may do what could disturb a capture.
const GLOBAL: i32 = 0;
const RELAXED: i32 = 2;

thread_local! {
    static MODE: Cell<i32> = const { Cell::new(GLOBAL) };
}

/// The mode of this thread before.
pub fn exchange_mode(mode: i32) -> i32 {
    MODE.replace(mode)
}

pub fn begin_capture(mode: i32) {
    lock(&STREAMS).capture = Some(Capture { tasks: Vec::new(), mode, broken: false });
}

/// # Errors
/// Nothing was recorded, or something that cannot be: the code.
pub fn end_capture() -> Result<Vec<Task>, i32> {
    let capture = lock(&STREAMS).capture.take().ok_or(ILLEGAL_STATE)?;
    if capture.broken { Err(CAPTURE_INVALIDATED) } else { Ok(capture.tasks) }
}

/// Whether something may be done now that a capture of a stream could not repeat, such as to reserve memory. If not,
/// the capture is void, as on a GPU.
pub fn disturb(what: &str) -> i32 {
    let streams = &mut *lock(&STREAMS);
    match &mut streams.capture {
        Some(capture) if capture.mode != RELAXED && MODE.get() != RELAXED => {
            capture.broken = true;
            eprintln!("cuda-emulator: {what} while a stream is captured");
            CAPTURE_UNSUPPORTED
        }
        _ => SUCCESS,
    }
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
        if matches!(task, Task::Send { .. }) {
            // It would be read again at each repetition, when its owner has freed it.
            eprintln!(
                "cuda-emulator: memory that is not pinned is sent while a stream is captured"
            );
            capture.broken = true;
            return CAPTURE_UNSUPPORTED;
        }
        capture.tasks.push(task);
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
    let code = disturb("something is waited for");
    if code != SUCCESS {
        return code;
    }
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
        Task::Copy(copy) => {
            for row in 0..copy.rows {
                let from = copy.from + (row * copy.from_pitch) as u64;
                let to = copy.to + (row * copy.to_pitch) as u64;
                if copy.reads_device {
                    device(from, copy.width)?;
                }
                if copy.writes_device {
                    device(to, copy.width)?;
                }
                // SAFETY: what is not memory of the device is the caller's.
                unsafe { std::ptr::copy(from as *const u8, to as *mut u8, copy.width) };
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
        Err(format!(
            "a copy or a fill of {bytes} bytes at {start:#x}, which is no memory of the device"
        ))
    }
}

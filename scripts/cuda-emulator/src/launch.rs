//! Runs all blocks of a launch.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};

use crate::access::{Launch, Memories};
use crate::kernel::Kernel;
use crate::lock;
use crate::memory;
use crate::races::Races;
use crate::warp::{Stopped, Warp};

/// A kernel with all that its launch needs.
#[derive(Clone)]
pub struct Work {
    pub kernel: &'static Kernel,
    pub grid: [u32; 3],
    pub block: [u32; 3],
    /// Bytes of shared memory.
    pub shared: usize,
    pub parameters: Vec<u8>,
}

static NUMBER: AtomicU32 = AtomicU32::new(1);

/// What the environment asks for.
#[derive(Clone, Copy, Default)]
pub struct Settings {
    /// `CUDA_EMULATOR_RACES=1`: threads that touch the same memory in no order are a fault.
    pub races: bool,
    /// `CUDA_EMULATOR_ORDER=N`: blocks and warps run in an order of their own for each N but 0.
    pub order: u32,
    /// `CUDA_EMULATOR_THREADS=N`.
    pub threads: usize,
    /// `CUDA_EMULATOR_LATE=1`: nothing is done before somebody waits for it.
    pub late: bool,
}

pub fn settings() -> Settings {
    static SETTINGS: OnceLock<Settings> = OnceLock::new();
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u32>().ok());
    *SETTINGS.get_or_init(|| {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Settings {
            races: number("CUDA_EMULATOR_RACES").is_some_and(|on| on != 0),
            order: number("CUDA_EMULATOR_ORDER").unwrap_or(0),
            threads: number("CUDA_EMULATOR_THREADS").map_or(cores, |threads| threads as usize),
            late: number("CUDA_EMULATOR_LATE").is_some_and(|on| on != 0),
        }
    })
}

/// The order of `count` things: by number, or one of its own for each setting and launch.
fn order(count: u32, salt: u32, seed: u32) -> Vec<u32> {
    let mut all: Vec<u32> = (0..count).collect();
    if seed != 0 {
        // SplitMix64, and Fisher and Yates.
        let mut state = u64::from(seed) << 32 | u64::from(salt);
        for last in (1..all.len()).rev() {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            all.swap(last, ((mixed ^ (mixed >> 31)) % (last as u64 + 1)) as usize);
        }
    }
    all
}

/// Runs a launch to its end.
pub fn run(work: &Work, settings: Settings) -> Result<(), String> {
    let ranges = memory::ranges();
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let launch = Launch {
        kernel: work.kernel,
        grid: work.grid,
        block: work.block,
        parameters: &work.parameters,
        shared: work.shared,
        number,
        ranges: &ranges,
    };
    let [x, y, z] = work.grid;
    let blocks = order(x * y * z, number, settings.order);
    let next = AtomicU32::new(0);
    let fault: Mutex<Option<String>> = Mutex::new(None);
    // Races in global memory are seen in one place only.
    let threads =
        if settings.races || blocks.len() < 4 { 1 } else { settings.threads.min(blocks.len()) };
    let several = || {
        let mut memories = Memories {
            launch: &launch,
            block: 0,
            shared: vec![0; work.shared.div_ceil(8)],
            races: None,
            barriers: 0,
        };
        if settings.races {
            memories.races = Some([Races::default(), Races::default()]);
        }
        while let Some(block) = blocks.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
            if lock(&fault).is_some() {
                break;
            }
            if let Err(why) = one(&launch, *block, &mut memories, settings.order) {
                let at = place(*block, work.grid);
                lock(&fault).get_or_insert(format!(
                    "{} in block {at:?} of {:?}: {why}",
                    work.kernel.name, work.grid
                ));
            }
        }
    };
    if threads <= 1 {
        several();
    } else {
        std::thread::scope(|scope| {
            (0..threads).for_each(|_| {
                scope.spawn(several);
            })
        });
    }
    fault.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()).map_or(Ok(()), Err)
}

fn place(number: u32, [x, y, _]: [u32; 3]) -> [u32; 3] {
    [number % x, number / x % y, number / x / y]
}

/// Runs the warps of a block, each until it waits for the others.
fn one(launch: &Launch, number: u32, memories: &mut Memories, seed: u32) -> Result<(), String> {
    memories.block = number;
    memories.barriers = 0;
    // What the block before left is not there.
    memories.shared.fill(u64::MAX);
    if let Some([shared, _]) = &mut memories.races {
        *shared = Races::default();
    }
    let threads: u32 = launch.block.iter().product();
    let block = place(number, launch.grid);
    let mut warps: Vec<Warp> = order(threads.div_ceil(32), number, seed)
        .into_iter()
        .map(|warp| Warp::new(launch, block, warp))
        .collect();
    while !warps.is_empty() {
        let mut waiting = 0;
        let mut left = Vec::with_capacity(warps.len());
        for mut warp in warps {
            let stopped =
                warp.run(memories).map_err(|why| format!("warp {}: {why}", warp.number))?;
            waiting += u32::from(stopped == Stopped::Barrier);
            if stopped == Stopped::Barrier {
                left.push(warp);
            }
        }
        memories.barriers += u32::from(waiting > 0);
        warps = left;
    }
    Ok(())
}

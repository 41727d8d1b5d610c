//! Runs the instructions of one warp, 32 lanes at once.
//!
//! Lanes that take different branches go one way after the other, and are together again where the ways meet.

use crate::access::{Launch, Memories};
use crate::kernel::{Instruction, Special, What};
use crate::lanes::{Arithmetic, Lanes, Wide};
use crate::races::{By, Visit};
use crate::tensor;

/// Where a warp stopped.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    Barrier,
    Done,
}

pub struct Warp {
    pub number: u16,
    pub words: Vec<Lanes>,
    pub wides: Vec<Wide>,
    predicates: Vec<u32>,
    /// Ways that lanes go; the last one first.
    paths: Vec<Path>,
    /// Lanes that have not returned.
    alive: u32,
    /// Barriers passed.
    warp_barriers: u32,
}

/// Lanes that are together.
struct Path {
    /// Their next instruction.
    at: u32,
    lanes: u32,
    /// Where they wait for those that went another way.
    until: u32,
}

type Fault = String;

impl Warp {
    pub fn new(launch: &Launch, block: [u32; 3], number: u32) -> Self {
        let registers = &launch.kernel.registers;
        // What a register holds before it is written is not specified: here it is NaN.
        let mut words = vec![Lanes([u32::MAX; 32]); registers.words];
        let mut wides = vec![Wide([u64::MAX; 32]); registers.wides];
        for (at, value) in &registers.constants {
            words[usize::from(*at)] = Lanes([*value; 32]);
        }
        for (at, value) in &registers.wide_constants {
            wides[usize::from(*at)] = Wide([*value; 32]);
        }
        let [x, y, z] = launch.block;
        for (at, special) in &registers.specials {
            words[usize::from(*at)] = Lanes(std::array::from_fn(|lane| {
                let thread = number * 32 + lane as u32;
                match special {
                    Special::Thread(0) => thread % x,
                    Special::Thread(1) => thread / x % y,
                    Special::Thread(_) => thread / x / y,
                    Special::Block(axis) => block[usize::from(*axis)],
                    Special::BlockSize(axis) => launch.block[usize::from(*axis)],
                    Special::GridSize(axis) => launch.grid[usize::from(*axis)],
                    Special::Lane => lane as u32,
                }
            }));
        }
        let threads = (x * y * z - number * 32).min(32);
        let alive = u32::MAX >> (32 - threads);
        let predicates = vec![0; registers.predicates];
        let paths = vec![Path { at: 0, lanes: alive, until: u32::MAX }];
        Self { number: number as u16, words, wides, predicates, paths, alive, warp_barriers: 0 }
    }

    /// Runs until the warp is done, or is at a barrier of the block with all its lanes.
    pub fn run(&mut self, memories: &mut Memories) -> Result<Stopped, Fault> {
        let kernel = memories.launch.kernel;
        while let Some(Path { at, lanes, until }) = self.paths.last_mut() {
            let (now, lanes) = (*at, *lanes & self.alive);
            if lanes == 0 || now == *until {
                self.paths.pop();
                continue;
            }
            // A kernel ends in `ret`.
            let Some(instruction) = kernel.instructions.get(now as usize) else {
                return Err("no instruction after the last one".into());
            };
            *at += 1;
            let mask = match instruction.guard {
                Some((predicate, holds)) => {
                    lanes
                        & (self.predicates[usize::from(predicate)]
                            ^ if holds { 0 } else { u32::MAX })
                }
                None => lanes,
            };
            match &instruction.what {
                _ if mask == 0 => {}
                What::Branch(target) if mask == lanes => *at = *target,
                What::Branch(target) => {
                    let (next, until) = (*at, kernel.meetings[now as usize]);
                    *at = until;
                    self.paths.push(Path { at: next, lanes: lanes & !mask, until });
                    self.paths.push(Path { at: *target, lanes: mask, until });
                }
                What::Return => self.alive &= !mask,
                What::Barrier | What::WarpBarrier if mask != self.alive => {
                    return Err(format!(
                        "a barrier that not all lanes of the warp reach, at `{}`",
                        instruction.text
                    ));
                }
                What::Barrier => {
                    self.warp_barriers += 1;
                    return Ok(Stopped::Barrier);
                }
                What::WarpBarrier => self.warp_barriers += 1,
                what => self
                    .compute(what, instruction, mask, memories)
                    .map_err(|why| format!("{why}, at `{}`", instruction.text))?,
            }
        }
        Ok(Stopped::Done)
    }

    fn compute(
        &mut self,
        what: &What,
        instruction: &Instruction,
        mask: u32,
        memories: &mut Memories,
    ) -> Result<(), Fault> {
        let [a, b, c] = instruction.from.map(usize::from);
        let to = instruction.to;
        match what {
            What::Arithmetic(arithmetic) => self.arithmetic(*arithmetic, to, [a, b, c], mask),
            What::Select => {
                let (one, other, by) = (self.words[a], self.words[b], self.predicates[c]);
                self.set(
                    to,
                    Lanes(std::array::from_fn(|lane| {
                        if by >> lane & 1 == 1 { one.0[lane] } else { other.0[lane] }
                    })),
                    mask,
                );
            }
            What::WideSelect => {
                let (one, other, by) = (self.wides[a], self.wides[b], self.predicates[c]);
                self.set_wide(
                    to,
                    Wide(std::array::from_fn(|lane| {
                        if by >> lane & 1 == 1 { one.0[lane] } else { other.0[lane] }
                    })),
                    mask,
                );
            }
            What::Join => {
                let (low, high) = (self.words[a], self.words[b]);
                self.set_wide(
                    to,
                    Wide(std::array::from_fn(|lane| {
                        u64::from(low.0[lane]) | u64::from(high.0[lane]) << 32
                    })),
                    mask,
                );
            }
            What::Split(into) => {
                let from = self.wides[a];
                for (nth, to) in into.iter().enumerate() {
                    self.set(
                        *to,
                        Lanes(std::array::from_fn(|lane| (from.0[lane] >> (32 * nth)) as u32)),
                        mask,
                    );
                }
            }
            What::JoinHalves => {
                let (low, high) = (self.words[a], self.words[b]);
                self.set(
                    to,
                    Lanes(std::array::from_fn(|lane| low.0[lane] & 0xffff | high.0[lane] << 16)),
                    mask,
                );
            }
            What::SplitHalves(into) => {
                let from = self.words[a];
                for (nth, to) in into.iter().enumerate() {
                    self.set(
                        *to,
                        Lanes(std::array::from_fn(|lane| from.0[lane] >> (16 * nth) & 0xffff)),
                        mask,
                    );
                }
            }
            What::Load(access) => self.load(access, mask, memories)?,
            What::Store(access) => self.store(access, mask, memories)?,
            What::Add { access, value } => self.add(access, *value, mask, memories)?,
            _ if mask != u32::MAX => {
                return Err("an instruction of a whole warp that not all lanes reach".into());
            }
            What::LoadMatrices { access, transposed } => {
                tensor::load_matrices(self, access, *transposed, memories)?
            }
            What::LoadFragment(fragment) => tensor::load_fragment(self, fragment, memories)?,
            What::StoreFragment(fragment) => tensor::store_fragment(self, fragment, memories)?,
            What::Multiply(factors) => tensor::multiply(self, factors),
            What::MultiplyFragments(factors) => tensor::multiply_fragments(self, factors),
            What::Branch(_) | What::Return | What::Barrier | What::WarpBarrier => {}
        }
        Ok(())
    }

    fn arithmetic(&mut self, arithmetic: Arithmetic, to: u16, [a, b, c]: [usize; 3], mask: u32) {
        match arithmetic {
            Arithmetic::One(f) => self.set(to, f(&self.words[a]), mask),
            Arithmetic::Two(f) => self.set(to, f(&self.words[a], &self.words[b]), mask),
            Arithmetic::Three(f) => {
                self.set(to, f(&self.words[a], &self.words[b], &self.words[c]), mask)
            }
            Arithmetic::WideOne(f) => self.set_wide(to, f(&self.wides[a]), mask),
            Arithmetic::WideTwo(f) => self.set_wide(to, f(&self.wides[a], &self.wides[b]), mask),
            Arithmetic::WideThree(f) => {
                self.set_wide(to, f(&self.wides[a], &self.wides[b], &self.wides[c]), mask)
            }
            Arithmetic::WideShift(f) => self.set_wide(to, f(&self.wides[a], &self.words[b]), mask),
            Arithmetic::Product(f) => self.set_wide(to, f(&self.words[a], &self.words[b]), mask),
            Arithmetic::Widen(f) => self.set_wide(to, f(&self.words[a]), mask),
            Arithmetic::Narrow(f) => self.set(to, f(&self.wides[a]), mask),
            Arithmetic::Compare(f) => {
                self.set_predicate(to, f(&self.words[a], &self.words[b]), mask)
            }
            Arithmetic::WideCompare(f) => {
                self.set_predicate(to, f(&self.wides[a], &self.wides[b]), mask)
            }
            Arithmetic::Predicate(f) => self.set_predicate(to, f(self.predicates[a]), mask),
            Arithmetic::Predicates(f) => {
                self.set_predicate(to, f(self.predicates[a], self.predicates[b]), mask)
            }
        }
    }

    pub fn set(&mut self, to: u16, value: Lanes, mask: u32) {
        let to = &mut self.words[usize::from(to)];
        if mask == u32::MAX {
            *to = value;
        } else {
            bits(mask).for_each(|lane| to.0[lane] = value.0[lane]);
        }
    }

    pub fn set_wide(&mut self, to: u16, value: Wide, mask: u32) {
        let to = &mut self.wides[usize::from(to)];
        if mask == u32::MAX {
            *to = value;
        } else {
            bits(mask).for_each(|lane| to.0[lane] = value.0[lane]);
        }
    }

    fn set_predicate(&mut self, to: u16, value: u32, mask: u32) {
        let to = &mut self.predicates[usize::from(to)];
        *to = *to & !mask | value & mask;
    }

    pub fn visited(&self, by: By, memories: &Memories) -> Visit {
        let Memories { launch, block, barriers, .. } = memories;
        Visit {
            launch: launch.number,
            block: *block,
            warp: self.number,
            by,
            barriers: *barriers,
            warp_barriers: self.warp_barriers,
        }
    }
}

/// The lanes of a mask.
pub fn bits(mut mask: u32) -> impl Iterator<Item = usize> + Clone {
    std::iter::from_fn(move || {
        let lane = mask.trailing_zeros();
        mask &= mask.wrapping_sub(1);
        (lane < 32).then_some(lane as usize)
    })
}

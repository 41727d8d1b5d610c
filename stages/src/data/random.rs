//! The random numbers of all stages. A stream is addressed by the seed, a purpose and two numbers
//! (an epoch, a step, a layer), never by what was drawn before. So a training run that resumes at
//! step `n` draws the same numbers as a run that never stopped.
//!
//! Random words come from Philox4x32-10 ([`philox`]). BLAKE3 of the address gives its key and the
//! upper half of its counter; the lower half counts blocks of four words. Everything derived from
//! the words (uniform, normal, bounded and binomial numbers, shuffles) uses only operations whose
//! results IEEE 754 defines to the bit: the same seed gives the same numbers on every machine.

pub mod normal;
pub mod philox;

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub struct Random {
    key: [u32; 2],
    stream: [u32; 2],
    /// The number of the next block.
    block: u64,
    words: [u32; 4],
    /// How many of `words` have been used.
    used: usize,
}

impl Random {
    /// The stream of a seed, a purpose (`split`, `dropout`) and two numbers, for instance a step
    /// and a layer; a number that is not needed is 0.
    pub fn new(seed: u64, purpose: &str, a: u64, b: u64) -> Random {
        let mut hasher = blake3::Hasher::new();
        for number in [seed, a, b] {
            hasher.update(&number.to_le_bytes());
        }
        hasher.update(purpose.as_bytes());
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(hasher.finalize().as_bytes().chunks_exact(4)) {
            *word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        let [k0, k1, s0, s1] = words;
        Random { key: [k0, k1], stream: [s0, s1], block: 0, words: [0; 4], used: 4 }
    }

    /// Moves to the word at `index`, counted from 0, so that threads that each fill a part of an
    /// array draw the same numbers as one thread. [`Random::uniform`] uses one word, a `u64` two.
    pub fn seek(&mut self, index: u64) {
        self.block = index / 4;
        self.words = self.next_block();
        self.used = (index % 4) as usize;
    }

    fn next_block(&mut self) -> [u32; 4] {
        let words = self.block_at(self.block);
        self.block += 1;
        words
    }

    #[inline(always)]
    fn block_at(&self, block: u64) -> [u32; 4] {
        let counter = [block as u32, (block >> 32) as u32, self.stream[0], self.stream[1]];
        philox::block(counter, self.key)
    }

    #[inline]
    pub fn next_u32(&mut self) -> u32 {
        if self.used == 4 {
            self.words = self.next_block();
            self.used = 0;
        }
        self.used += 1;
        self.words[self.used - 1]
    }

    /// Two words, the lower first.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        let low = self.next_u32();
        u64::from(low) | u64::from(self.next_u32()) << 32
    }

    /// Uniform in 0..1: a multiple of 2⁻²⁴.
    pub fn uniform(&mut self) -> f32 {
        uniform_of(self.next_u32())
    }

    /// Uniform in 0..1: a multiple of 2⁻⁵³.
    pub fn uniform_f64(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// A standard normal number, by inversion; uses two words.
    pub fn normal(&mut self) -> f64 {
        let middle = (self.next_u64() >> 12) as f64 + 0.5;
        normal::normal_quantile(middle * (1.0 / (1u64 << 52) as f64))
    }

    /// A whole number in `0..bound`, each equally likely; 0 where `bound` is 0.
    /// D. Lemire, "Fast random integer generation in an interval", TOMACS 29 (2019).
    pub fn below(&mut self, bound: u64) -> u64 {
        loop {
            let product = u128::from(self.next_u64()) * u128::from(bound);
            let low = product as u64;
            // Rejects 2⁶⁴ mod bound of the 2⁶⁴ words, which would make some numbers likelier.
            if low >= bound || low >= bound.wrapping_neg() % bound.max(1) {
                return (product >> 64) as u64;
            }
        }
    }

    /// How many of `trials` succeed, each with the probability `part` / `whole`. `part` is at most
    /// `whole`, and `whole` is below 2⁶³. The distribution is exact: each trial compares the bits
    /// of a uniform number with those of the probability until they differ, which takes two bits on
    /// average. A word serves 64 trials.
    pub fn binomial(&mut self, trials: u64, part: u64, whole: u64) -> u64 {
        if part >= whole {
            return trials;
        }
        let (mut successes, mut undecided, mut rest) = (0, trials, part);
        while undecided > 0 && rest > 0 {
            rest *= 2;
            let bit_of_probability = rest >= whole;
            let ones = self.ones(undecided);
            if bit_of_probability {
                rest -= whole;
                successes += undecided - ones;
                undecided = ones;
            } else {
                undecided -= ones;
            }
        }
        successes
    }

    /// Draws `bits` random bits and counts the ones.
    fn ones(&mut self, bits: u64) -> u64 {
        let whole: u64 = (0..bits / 64).map(|_| u64::from(self.next_u64().count_ones())).sum();
        match bits % 64 {
            0 => whole,
            rest => whole + u64::from((self.next_u64() >> (64 - rest)).count_ones()),
        }
    }

    /// Shuffles `items`; every order is equally likely (Fisher–Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }

    /// Fills `out` with [`Random::uniform`] numbers, faster than one by one.
    pub fn fill_uniform(&mut self, out: &mut [f32]) {
        let (left_over, rest) = out.split_at_mut(out.len().min(4 - self.used));
        left_over.fill_with(|| self.uniform());
        let mut blocks = rest.chunks_exact_mut(4);
        for (index, numbers) in (self.block..).zip(&mut blocks) {
            let words = self.block_at(index);
            for (number, word) in numbers.iter_mut().zip(words) {
                *number = uniform_of(word);
            }
            self.block = index + 1;
        }
        blocks.into_remainder().fill_with(|| self.uniform());
    }
}

fn uniform_of(word: u32) -> f32 {
    (word >> 8) as f32 * (1.0 / (1u32 << 24) as f32)
}

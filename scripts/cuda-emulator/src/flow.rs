//! Where lanes that took different branches are together again: at the nearest instruction that all ways from the
//! branch to the end pass (its immediate post-dominator), as `ptxas` has it.

use crate::kernel::{Instruction, What};

/// For each instruction the number of the one where its ways meet. The number of instructions stands for the end.
pub fn meetings(instructions: &[Instruction]) -> Vec<u32> {
    let end = instructions.len();
    let successors: Vec<[usize; 2]> = instructions
        .iter()
        .enumerate()
        .map(|(at, instruction)| after(at, instruction, end))
        .collect();
    // Cooper, Harvey and Kennedy: A Simple, Fast Dominance Algorithm (2001), from the end. Instructions are numbered in
    // the order in which a walk from the end leaves them.
    let mut predecessors = vec![Vec::new(); end + 1];
    for (at, next) in successors.iter().enumerate() {
        predecessors[next[0]].push(at);
        if next[1] != next[0] {
            predecessors[next[1]].push(at);
        }
    }
    let order = postorder(end, &predecessors);
    let mut number = vec![usize::MAX; end + 1];
    order.iter().enumerate().for_each(|(nth, at)| number[*at] = nth);
    let mut meets = vec![usize::MAX; end + 1];
    meets[end] = end;
    loop {
        let mut changed = false;
        for &at in order.iter().rev().filter(|at| **at != end) {
            let known = successors[at].into_iter().filter(|next| meets[*next] != usize::MAX);
            let met = known.reduce(|one, other| common(one, other, &meets, &number)).unwrap_or(end);
            changed |= std::mem::replace(&mut meets[at], met) != met;
        }
        if !changed {
            return meets.into_iter().map(|at| at.min(end) as u32).collect();
        }
    }
}

/// The one or two instructions that may follow.
fn after(at: usize, instruction: &Instruction, end: usize) -> [usize; 2] {
    let next = at + 1;
    match (&instruction.what, instruction.guard) {
        (What::Return, None) => [end; 2],
        (What::Return, Some(_)) => [end, next],
        (What::Branch(target), None) => [*target as usize; 2],
        (What::Branch(target), Some(_)) => [*target as usize, next],
        _ => [next; 2],
    }
}

fn postorder(end: usize, predecessors: &[Vec<usize>]) -> Vec<usize> {
    let mut order = Vec::with_capacity(predecessors.len());
    let mut seen = vec![false; predecessors.len()];
    let mut stack = vec![(end, 0)];
    seen[end] = true;
    while let Some((at, nth)) = stack.pop() {
        match predecessors[at].get(nth) {
            Some(&before) => {
                stack.push((at, nth + 1));
                if !std::mem::replace(&mut seen[before], true) {
                    stack.push((before, 0));
                }
            }
            None => order.push(at),
        }
    }
    order
}

/// The nearest instruction that both pass.
fn common(mut one: usize, mut other: usize, meets: &[usize], number: &[usize]) -> usize {
    while one != other {
        while number[one] < number[other] {
            one = meets[one];
        }
        while number[other] < number[one] {
            other = meets[other];
        }
    }
    one
}

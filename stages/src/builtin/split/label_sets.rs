//! The labels of each row of a task with several labels a text.

/// Lists of label numbers, row by row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelSets {
    numbers: Vec<u16>,
    /// Where each row ends in `numbers`, after a 0.
    ends: Vec<u32>,
}

impl Default for LabelSets {
    fn default() -> LabelSets {
        LabelSets { numbers: Vec::new(), ends: vec![0] }
    }
}

impl LabelSets {
    pub fn push(&mut self, numbers: impl Iterator<Item = u16>) {
        self.numbers.extend(numbers);
        self.ends.push(self.numbers.len() as u32);
    }

    /// Adds rows without labels until there are as many rows.
    pub fn fill(&mut self, rows: usize) {
        self.ends.resize(self.ends.len().max(rows + 1), self.numbers.len() as u32);
    }

    /// The same with other numbers.
    pub fn renumbered(&self, numbers: &[u16]) -> LabelSets {
        let numbers = self.numbers.iter().map(|number| numbers[usize::from(*number)]).collect();
        LabelSets { numbers, ends: self.ends.clone() }
    }

    /// The labels of a row.
    pub fn of_row(&self, row: usize) -> &[u16] {
        &self.numbers[self.ends[row] as usize..self.ends[row + 1] as usize]
    }

    pub fn is_empty(&self) -> bool {
        self.ends.len() == 1
    }
}

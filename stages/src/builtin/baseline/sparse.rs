//! Matrices of mostly nothing, by rows. Products go over rows on all cores and over a row's
//! entries in their order, so that the number of threads shows nowhere.

use rayon::prelude::*;

/// Rows of (column, value).
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    columns: usize,
    /// Where each row begins in `entries`, and where the last one ends.
    starts: Vec<usize>,
    entries: Vec<(u32, f64)>,
}

impl Matrix {
    /// Rows with columns in `0..columns`.
    pub fn new(columns: usize, rows: impl IntoIterator<Item = Vec<(u32, f64)>>) -> Matrix {
        let mut matrix = Matrix { columns, starts: vec![0], entries: Vec::new() };
        for row in rows {
            matrix.entries.extend(row);
            matrix.starts.push(matrix.entries.len());
        }
        matrix
    }

    pub fn rows(&self) -> usize {
        self.starts.len() - 1
    }

    pub fn columns(&self) -> usize {
        self.columns
    }

    pub fn row(&self, row: usize) -> &[(u32, f64)] {
        &self.entries[self.starts[row]..self.starts[row + 1]]
    }

    /// The product with a vector: `vector` has a number for each column, `out` for each row.
    pub fn times(&self, vector: &[f64], out: &mut [f64]) {
        out.par_iter_mut().enumerate().with_min_len(64).for_each(|(row, out)| {
            *out =
                self.row(row).iter().map(|(column, value)| value * vector[*column as usize]).sum();
        });
    }

    /// Columns as rows.
    pub fn transposed(&self) -> Matrix {
        let mut starts = vec![0; self.columns + 1];
        for (column, _) in &self.entries {
            starts[*column as usize + 1] += 1;
        }
        for column in 0..self.columns {
            starts[column + 1] += starts[column];
        }
        let mut next = starts.clone();
        let mut entries = vec![(0, 0.0); self.entries.len()];
        for row in 0..self.rows() {
            for (column, value) in self.row(row) {
                let place = &mut next[*column as usize];
                entries[*place] = (row as u32, *value);
                *place += 1;
            }
        }
        Matrix { columns: self.rows(), starts, entries }
    }
}

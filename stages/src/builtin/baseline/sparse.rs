//! Sparse matrices in row order (CSR). Products run over rows in parallel and sum each row's entries
//! in order, so the result does not depend on the number of threads.

use rayon::prelude::*;

/// A sparse matrix; each row is a list of (column, value).
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    columns: usize,
    /// The index in `entries` at which each row begins, and the end of the last row.
    starts: Vec<usize>,
    entries: Vec<(u32, f64)>,
}

impl Matrix {
    /// A matrix of these rows. All columns are in `0..columns`.
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

    /// The product with `vector`, of length `columns`, is written to `out`, of length `rows`.
    pub fn times(&self, vector: &[f64], out: &mut [f64]) {
        out.par_iter_mut().enumerate().with_min_len(64).for_each(|(row, out)| {
            *out =
                self.row(row).iter().map(|(column, value)| value * vector[*column as usize]).sum();
        });
    }

    /// The transposed matrix.
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

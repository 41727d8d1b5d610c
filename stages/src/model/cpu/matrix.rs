//! Views of matrices in memory that several tasks share. They carry raw pointers, because tasks
//! write to interleaved rows of one matrix, and lengths, which debug builds check on every access.

/// A pointer to `length` elements. Several tasks share it; each writes to its own elements only.
#[derive(Clone, Copy)]
pub(super) struct SharedPointer<T = f32> {
    first: *mut T,
    length: usize,
}

// SAFETY: the type only passes an address between threads. Every access through it is unsafe and
// states why the tasks write disjoint elements.
unsafe impl<T: Send> Send for SharedPointer<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for SharedPointer<T> {}

impl<T: Copy> SharedPointer<T> {
    pub(super) fn new(values: &mut [T]) -> SharedPointer<T> {
        SharedPointer { first: values.as_mut_ptr(), length: values.len() }
    }

    /// Points to the spare capacity of `values`, `length` elements, which need not be initialised.
    pub(super) fn spare(values: &mut Vec<T>, length: usize) -> SharedPointer<T> {
        debug_assert!(values.is_empty() && length <= values.capacity());
        SharedPointer { first: values.as_mut_ptr(), length }
    }

    /// The elements from `index` on.
    pub(super) fn from(self, index: usize) -> SharedPointer<T> {
        debug_assert!(index <= self.length, "element {index} of {}", self.length);
        SharedPointer {
            first: self.first.wrapping_add(index),
            length: self.length.wrapping_sub(index),
        }
    }

    /// The address of the first of `count` elements that the caller accesses.
    pub(super) fn pointer(self, count: usize) -> *mut T {
        debug_assert!(count <= self.length, "{count} elements of {}", self.length);
        self.first
    }
}

/// A matrix in memory: element (row, column) lies at `row · row_stride + column · column_stride`.
#[derive(Clone, Copy)]
pub(super) struct Matrix {
    data: *const f32,
    /// Elements that may be read from `data` on.
    length: usize,
    pub(super) row_stride: usize,
    pub(super) column_stride: usize,
}

// SAFETY: the type only passes an address between threads. Every read through it is unsafe and
// states why the memory is valid and why no task writes to it.
unsafe impl Send for Matrix {}
// SAFETY: as above.
unsafe impl Sync for Matrix {}

impl Matrix {
    /// A row-major matrix with `width` columns.
    pub(super) fn rows(values: &[f32], width: usize) -> Matrix {
        let (data, length) = (values.as_ptr(), values.len());
        Matrix { data, length, row_stride: width, column_stride: 1 }
    }

    /// The transpose, a view of the same memory.
    pub(super) fn transposed(self) -> Matrix {
        Matrix { row_stride: self.column_stride, column_stride: self.row_stride, ..self }
    }

    /// The rows from `first` on. An index past the last row gives an empty matrix.
    pub(super) fn rows_from(self, first: usize) -> Matrix {
        let start = first * self.row_stride;
        Matrix {
            data: self.data.wrapping_add(start),
            length: self.length.saturating_sub(start),
            ..self
        }
    }

    /// The address of the first element of a view whose first `rows` x `columns` elements the
    /// caller reads.
    pub(super) fn pointer(self, rows: usize, columns: usize) -> *const f32 {
        debug_assert!(
            last_element(rows, self.row_stride, columns, self.column_stride)
                .is_none_or(|last| last < self.length),
            "{rows} x {columns} elements of {}",
            self.length
        );
        self.data
    }

    /// The address of an element that the caller reads.
    pub(super) fn at(self, row: usize, column: usize) -> *const f32 {
        let index = row * self.row_stride + column * self.column_stride;
        debug_assert!(index < self.length, "element {index} of {}", self.length);
        self.data.wrapping_add(index)
    }
}

/// The destination of a product: `out = scale · left · right + bias`, or `out +=`. Element (row, column) lies at
/// `row · row_stride + column`.
#[derive(Clone, Copy)]
pub(super) struct Target {
    out: SharedPointer,
    pub(super) row_stride: usize,
    pub(super) scale: f32,
    /// Added to every row.
    bias: Option<Matrix>,
    /// Whether the product is added to what is there.
    pub(super) accumulates: bool,
}

impl Target {
    /// The plain product, row-major with `width` columns.
    pub(super) fn rows(out: SharedPointer, width: usize) -> Target {
        Target { out, row_stride: width, scale: 1.0, bias: None, accumulates: false }
    }

    /// Multiplies the product by `scale`.
    pub(super) fn scaled(self, scale: f32) -> Target {
        Target { scale, ..self }
    }

    /// Adds the product to what is there.
    pub(super) fn accumulating(self) -> Target {
        Target { accumulates: true, ..self }
    }

    /// Adds `bias` to every row.
    pub(super) fn plus(self, bias: &[f32]) -> Target {
        Target { bias: Some(Matrix::rows(bias, 1)), ..self }
    }

    /// The same product into other memory, row-major with `width` columns.
    pub(super) fn into(self, out: SharedPointer, width: usize) -> Target {
        Target { out, row_stride: width, ..self }
    }

    /// The part of the result that begins at this element.
    pub(super) fn from(self, row: usize, column: usize) -> Target {
        let out = self.out.from(row * self.row_stride + column);
        Target { out, bias: self.bias.map(|bias| bias.rows_from(column)), ..self }
    }

    /// The address of the first of `rows` x `columns` elements that the caller writes.
    pub(super) fn pointer(self, rows: usize, columns: usize) -> *mut f32 {
        let last = last_element(rows, self.row_stride, columns, 1);
        self.out.pointer(last.map_or(0, |last| last + 1))
    }

    /// The address of the first of `columns` elements of the bias that the caller reads.
    pub(super) fn bias(self, columns: usize) -> Option<*const f32> {
        self.bias.map(|bias| bias.pointer(columns, 1))
    }
}

/// The index of the last element of a `rows` x `columns` view; `None` if it is empty.
fn last_element(
    rows: usize,
    row_stride: usize,
    columns: usize,
    column_stride: usize,
) -> Option<usize> {
    (rows > 0 && columns > 0).then(|| (rows - 1) * row_stride + (columns - 1) * column_stride)
}

//! Packed weights.
//!
//! Weights of which few remain are packed as values with the places of their inputs: each costs one
//! broadcast, and a load and a multiply-add for every vector of a panel. The inputs are divided into
//! blocks whose part of the panel fits the first-level cache. Weights of which many remain are packed
//! in tiles of six rows, as for ordinary matrix products.

use super::rows::Rows;

/// Rows of one unit of parallel work; a multiple of a tile's.
pub const STRIPE: usize = 48;

/// Rows of one tile of a dense product: with two vectors of each, the processor's registers hold it.
pub(super) const TILE: usize = 6;

/// Inputs of one block of a dense product.
pub(super) const DENSE_BLOCK: usize = 256;

/// Inputs of a block at most: places have 16 bits.
const LARGEST_BLOCK: usize = 1 << 16;

/// Elements of one row whose places are read at once.
pub(super) const GROUP: usize = 4;

/// How a matrix is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// All elements.
    Dense,
    /// Those that are not zero; the inputs in blocks of so many.
    Sparse {
        /// Inputs of one block, at most 2^16.
        block: usize,
    },
}

/// A packed matrix of `[outputs, inputs]` with its bias.
#[derive(Debug, Clone)]
pub struct Packed {
    pub(super) outputs: usize,
    pub(super) inputs: usize,
    pub(super) bias: Vec<f32>,
    pub(super) form: Form,
}

#[derive(Debug, Clone)]
pub(super) enum Form {
    Dense(Vec<f32>),
    Sparse(Sparse),
}

#[derive(Debug, Clone)]
pub(super) struct Sparse {
    pub(super) block: usize,
    /// Groups of each row within each block: block by block.
    pub(super) counts: Vec<u16>,
    /// Where the groups of each stripe begin within each block: block by block; and the end of all.
    pub(super) starts: Vec<u32>,
    pub(super) groups: Vec<Group>,
}

/// Elements of one row, and their columns within a block. The last group of a row is filled up with
/// zeros.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(super) struct Group {
    pub(super) columns: [u16; GROUP],
    pub(super) values: [f32; GROUP],
}

impl Packed {
    /// Packs `weight` with its `bias`, one for each row.
    pub fn new(weight: &Rows, bias: Vec<f32>, packing: Packing) -> Self {
        let (outputs, inputs) = (weight.height(), weight.width());
        assert_eq!(bias.len(), outputs, "shapes do not fit");
        let form = match packing {
            Packing::Dense => Form::Dense(tiles(weight)),
            Packing::Sparse { block } => Form::Sparse(Sparse::new(weight, block)),
        };
        Self { outputs, inputs, bias, form }
    }

    /// A matrix of `[outputs, inputs]` of the parts of its stripes, block by block, each of so many
    /// inputs.
    ///
    /// The parts must have a row for each of the matrix's, and columns within their block.
    pub fn of_parts(
        [outputs, inputs]: [usize; 2],
        bias: Vec<f32>,
        block: usize,
        parts: &[Part],
    ) -> Self {
        assert_eq!(bias.len(), outputs, "shapes do not fit");
        assert!((1..=LARGEST_BLOCK).contains(&block), "a block that has a place for each column");
        let (blocks, stripes) = (inputs.div_ceil(block), outputs.div_ceil(STRIPE));
        assert_eq!(parts.len(), blocks * stripes, "a part for each block of each stripe");
        for (n, part) in parts.iter().enumerate() {
            let rows = STRIPE.min(outputs - n % stripes * STRIPE);
            let reach = block.min(inputs - n / stripes * block);
            let columns = part.groups.iter().flat_map(|group| group.columns);
            assert_eq!(part.counts.len(), rows, "a row for each of the matrix's");
            assert!(
                columns.max().is_none_or(|column| usize::from(column) < reach),
                "no such column"
            );
        }
        Self { outputs, inputs, bias, form: Form::Sparse(Sparse::of(block, parts)) }
    }

    /// Number of rows.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Number of columns.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Number of elements that are not zero.
    pub fn stored(&self) -> usize {
        let count = |values: &[f32]| values.iter().filter(|value| **value != 0.0).count();
        match &self.form {
            Form::Dense(values) => count(values),
            Form::Sparse(sparse) => sparse.groups.iter().map(|group| count(&group.values)).sum(),
        }
    }

    /// How it is packed.
    pub fn packing(&self) -> Packing {
        match &self.form {
            Form::Dense(_) => Packing::Dense,
            Form::Sparse(sparse) => Packing::Sparse { block: sparse.block },
        }
    }

    /// The memory that it takes.
    pub fn bytes(&self) -> usize {
        let form = match &self.form {
            Form::Dense(values) => size_of_val(values.as_slice()),
            Form::Sparse(sparse) => {
                size_of_val(sparse.counts.as_slice())
                    + size_of_val(sparse.starts.as_slice())
                    + size_of_val(sparse.groups.as_slice())
            }
        };
        form + size_of_val(self.bias.as_slice())
    }

    /// Divides the rows into at most `parts` ranges of whole stripes with about equal work.
    pub fn divide(&self, parts: usize) -> Vec<std::ops::Range<usize>> {
        let stripes = self.outputs.div_ceil(STRIPE);
        let work = |stripe: usize| match &self.form {
            Form::Dense(_) => self.inputs.max(1),
            // Storing a result costs about as much as a group.
            Form::Sparse(sparse) => sparse.work(stripe, stripes) + STRIPE,
        };
        let total: usize = (0..stripes).map(work).sum();
        let (mut ranges, mut first, mut done) = (Vec::new(), 0, 0);
        for stripe in 0..stripes {
            done += work(stripe);
            if stripe + 1 == stripes || done * parts >= total * (ranges.len() + 1) {
                ranges.push(first * STRIPE..((stripe + 1) * STRIPE).min(self.outputs));
                first = stripe + 1;
            }
        }
        ranges
    }
}

/// The elements in tiles of six rows, each column by column; missing rows are zero.
fn tiles(weight: &Rows) -> Vec<f32> {
    let inputs = weight.width();
    let mut values = vec![0.0; weight.height().div_ceil(TILE) * TILE * inputs];
    for (row, column, value) in weight.elements() {
        values[(row / TILE * inputs + column) * TILE + row % TILE] = value;
    }
    values
}

/// What a block of inputs has of the rows of one stripe.
#[derive(Debug, Default)]
pub struct Part {
    /// Groups of each row.
    counts: Vec<u16>,
    groups: Vec<Group>,
}

impl Part {
    /// Adds a row: its columns within the block, and their values.
    pub fn push(&mut self, columns: &[u16], values: &[f32]) {
        assert_eq!(columns.len(), values.len(), "a value for each column");
        let (columns, other_columns) = columns.as_chunks::<GROUP>();
        let (values, other_values) = values.as_chunks::<GROUP>();
        let whole = columns.iter().zip(values);
        self.groups
            .extend(whole.map(|(columns, values)| Group { columns: *columns, values: *values }));
        if let Some(first) = other_columns.first() {
            // Places that stay empty multiply what is in the cache by zero.
            let mut group = Group { columns: [*first; GROUP], values: [0.0; GROUP] };
            group.columns[..other_columns.len()].copy_from_slice(other_columns);
            group.values[..other_values.len()].copy_from_slice(other_values);
            self.groups.push(group);
        }
        self.counts.push((columns.len() + usize::from(!other_columns.is_empty())) as u16);
    }
}

impl Sparse {
    fn new(weight: &Rows, block: usize) -> Self {
        let block = block.clamp(1, LARGEST_BLOCK);
        let (mut parts, mut places) = (Vec::new(), Vec::new());
        for first in (0..weight.width()).step_by(block) {
            for stripe in (0..weight.height()).step_by(STRIPE) {
                let mut part = Part::default();
                for row in stripe..(stripe + STRIPE).min(weight.height()) {
                    let (columns, values) = weight.part(row, first..first + block);
                    places.clear();
                    places.extend(columns.iter().map(|column| (*column as usize - first) as u16));
                    part.push(&places, values);
                }
                parts.push(part);
            }
        }
        Self::of(block, &parts)
    }

    /// Puts parts together: those of a block's stripes, block by block.
    fn of(block: usize, parts: &[Part]) -> Self {
        let (mut counts, mut starts, mut groups) = (Vec::new(), Vec::new(), Vec::new());
        groups.reserve_exact(parts.iter().map(|part| part.groups.len()).sum());
        for part in parts {
            starts.push(groups.len() as u32);
            counts.extend(&part.counts);
            groups.extend(&part.groups);
        }
        starts.push(groups.len() as u32);
        Self { block, counts, starts, groups }
    }

    /// Groups of a stripe in all blocks.
    fn work(&self, stripe: usize, stripes: usize) -> usize {
        let starts = self.starts.iter().skip(stripe).step_by(stripes.max(1));
        let ends = self.starts.iter().skip(stripe + 1).step_by(stripes.max(1));
        starts.zip(ends).map(|(start, end)| (end - start) as usize).sum()
    }
}

//! What a tensor is in the model that a package was made from.

/// What a tensor is in the source model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SourceTensor {
    /// The source's tensor of the same name, in the same order of axes.
    #[default]
    Same,
    /// The source's tensor `name`, with its axes in another order, or under another name.
    View {
        /// Its name in the source.
        name: String,
        /// Axis `i` of the tensor is axis `axes[i]` of the source's: a permutation.
        axes: Vec<u32>,
    },
    /// No tensor of the source: the compiler added it.
    Added,
}

impl SourceTensor {
    /// The name in the source of a tensor that is called `own` here; `None` if the source has none.
    pub fn name<'a>(&'a self, own: &'a str) -> Option<&'a str> {
        match self {
            Self::Same => Some(own),
            Self::View { name, .. } => Some(name),
            Self::Added => None,
        }
    }

    /// The order of the axes, if it is another one.
    pub fn axes(&self) -> Option<&[u32]> {
        match self {
            Self::View { axes, .. } if !axes.is_sorted() => Some(axes),
            Self::View { .. } | Self::Same | Self::Added => None,
        }
    }

    /// Whether the axes are those of a tensor of `rank` dimensions, each once.
    pub fn fits(&self, rank: usize) -> bool {
        let Self::View { axes, .. } = self else { return true };
        let mut sorted = axes.clone();
        sorted.sort_unstable();
        axes.len() == rank && sorted.into_iter().eq((0..).take(rank))
    }

    /// A list with an entry per axis, in the source's order: extents, an index.
    ///
    /// ```
    /// use cnnip_package::SourceTensor;
    ///
    /// let nhwc = SourceTensor::View { name: "features".into(), axes: vec![0, 2, 3, 1] };
    /// assert_eq!(nhwc.per_axis(&[1, 8, 12, 3]), [1, 3, 8, 12]);
    /// ```
    pub fn per_axis<T: Copy>(&self, own: &[T]) -> Vec<T> {
        let mut source = own.to_vec();
        for (&value, axis) in own.iter().zip(self.axes().unwrap_or_default()) {
            if let Some(place) = usize::try_from(*axis).ok().and_then(|axis| source.get_mut(axis)) {
                *place = value;
            }
        }
        source
    }

    /// A list with an entry per axis of the source, in the tensor's own order.
    pub fn per_own_axis<T: Copy>(&self, source: &[T]) -> Vec<T> {
        let Some(axes) = self.axes() else { return source.to_vec() };
        axes.iter().filter_map(|&axis| source.get(usize::try_from(axis).ok()?)).copied().collect()
    }

    /// Elements of `element_bytes` bytes each, dense and row-major in the tensor's own `shape`, in the source's order.
    /// Bytes that are not those of the shape stay as they are.
    pub fn to_source(&self, bytes: &[u8], shape: &[u32], element_bytes: usize) -> Vec<u8> {
        let strides = self.per_axis(&strides(shape, element_bytes));
        self.reordered(bytes, &self.per_axis(shape), &strides, element_bytes)
    }

    /// The inverse of [`to_source`](Self::to_source); `shape` is the tensor's own.
    pub fn from_source(&self, bytes: &[u8], shape: &[u32], element_bytes: usize) -> Vec<u8> {
        let strides = self.per_own_axis(&strides(&self.per_axis(shape), element_bytes));
        self.reordered(bytes, shape, &strides, element_bytes)
    }

    /// Elements read at `strides` for every index of `shape`, in row-major order.
    fn reordered(&self, bytes: &[u8], shape: &[u32], strides: &[usize], element_bytes: usize) -> Vec<u8> {
        let product = shape.iter().try_fold(element_bytes, |product, &extent| product.checked_mul(size(extent)));
        if self.axes().is_none() || product != Some(bytes.len()) {
            return bytes.to_vec();
        }
        let mut out = Vec::with_capacity(bytes.len());
        let mut index = vec![0; shape.len()];
        let mut at = 0;
        while out.len() < bytes.len() {
            out.extend_from_slice(bytes.get(at..at + element_bytes).unwrap_or_default());
            for ((place, &extent), &stride) in index.iter_mut().zip(shape).zip(strides).rev() {
                *place += 1;
                at += stride;
                if *place < extent {
                    break;
                }
                at -= stride * size(extent);
                *place = 0;
            }
        }
        out
    }
}

/// Bytes from one element to the next along each axis of a dense row-major tensor.
fn strides(shape: &[u32], element_bytes: usize) -> Vec<usize> {
    let mut stride = element_bytes;
    let mut strides = vec![0; shape.len()];
    for (place, &extent) in strides.iter_mut().zip(shape).rev() {
        *place = stride;
        stride = stride.saturating_mul(size(extent));
    }
    strides
}

fn size(extent: u32) -> usize {
    usize::try_from(extent).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_gives_the_sources_order_and_back() {
        let nhwc = SourceTensor::View { name: "x".into(), axes: vec![0, 2, 3, 1] };
        // Two rows, one column, three channels: the elements say row and channel.
        let own = [0x00, 0x01, 0x02, 0x10, 0x11, 0x12];
        let source = nhwc.to_source(&own, &[1, 2, 1, 3], 1);
        assert_eq!(source, [0x00, 0x10, 0x01, 0x11, 0x02, 0x12]);
        assert_eq!(nhwc.from_source(&source, &[1, 2, 1, 3], 1), own);
        let wide = nhwc.to_source(&[0, 9, 1, 9, 2, 9, 3, 9], &[1, 2, 1, 2], 2);
        assert_eq!(wide, [0, 9, 2, 9, 1, 9, 3, 9]);
    }

    #[test]
    fn what_is_the_same_stays_and_what_does_not_fit_is_said() {
        let view = |axes: &[u32]| SourceTensor::View { name: "x".into(), axes: axes.to_vec() };
        assert_eq!(SourceTensor::Same.to_source(&[1, 2, 3], &[3], 1), [1, 2, 3]);
        assert_eq!(view(&[1, 0]).to_source(&[1, 2, 3], &[2, 2], 1), [1, 2, 3], "not its bytes");
        assert!(view(&[1, 0]).fits(2) && SourceTensor::Added.fits(7));
        assert!(!view(&[1, 0]).fits(3) && !view(&[0, 0]).fits(2) && !view(&[0, 2]).fits(2));
    }
}

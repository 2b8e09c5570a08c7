//! Small grey pictures as data URIs: BMP, which needs no compression to be valid, in base64.

/// Bytes of the file header, the information header and a palette of 256 colours.
const HEADER: u32 = 14 + 40 + 4 * 256;

/// A picture of 8-bit greys, row by row from the top; `None` if it has no pixels or not `rows * columns` of them.
pub(super) fn data_uri(greys: &[u8], rows: u16, columns: u16) -> Option<String> {
    let width = usize::from(columns);
    if greys.is_empty() || greys.len() != usize::from(rows) * width {
        return None;
    }
    let pitch = width.next_multiple_of(4); // rows end at multiples of four bytes
    let pixels = u32::try_from(pitch * usize::from(rows)).ok()?;
    let mut file = b"BM".to_vec();
    for field in [HEADER + pixels, 0, HEADER, 40, columns.into(), rows.into()] {
        file.extend(u32::to_le_bytes(field));
    }
    // One plane, 8 bits per pixel, not compressed, no resolution, 256 colours.
    file.extend([1, 0, 8, 0]);
    for field in [0, pixels, 0, 0, 256, 0] {
        file.extend(u32::to_le_bytes(field));
    }
    (0..=u8::MAX).for_each(|grey| file.extend([grey, grey, grey, 0]));
    for row in greys.chunks_exact(width).rev() {
        file.extend(row);
        file.extend(vec![0; pitch - width]);
    }
    Some(format!("data:image/bmp;base64,{}", base64(&file)))
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let at = |index: usize| u32::from(three.get(index).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for place in 0..4_usize {
            let letter = LETTERS[usize::from((bits >> (18 - 6 * place) & 63).to_le_bytes()[0])];
            text.push(if place <= three.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_the_standard() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn a_picture_has_all_its_pixels() {
        let uri = data_uri(&[0, 255, 128, 1, 2, 3], 2, 3).unwrap();
        let bytes = usize::try_from(HEADER).unwrap() + 2 * 4;
        assert_eq!(uri.len(), "data:image/bmp;base64,".len() + bytes.div_ceil(3) * 4);
        assert_eq!(data_uri(&[0], 2, 3), None);
        assert_eq!(data_uri(&[], 0, 3), None);
    }
}

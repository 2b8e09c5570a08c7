//! Small pictures as data URIs: BMP, which needs no compression to be valid, in base64.

/// Bytes of the file header and the information header.
const HEADERS: u32 = 14 + 40;
/// A picture of 8-bit greys, row by row from the top; `None` if it has no pixels or not `rows * columns` of them.
pub(super) fn grey(greys: &[u8], rows: u16, columns: u16) -> Option<String> {
    let palette: Vec<u8> = (0..=u8::MAX).flat_map(|grey| [grey, grey, grey, 0]).collect();
    data_uri(greys, 1, &palette, (rows, columns))
}

/// A picture of red, green and blue, likewise.
pub(super) fn color(pixels: &[[u8; 3]], rows: u16, columns: u16) -> Option<String> {
    let bytes: Vec<u8> = pixels.iter().flat_map(|&[red, green, blue]| [blue, green, red]).collect();
    data_uri(&bytes, 3, &[], (rows, columns))
}

fn data_uri(pixels: &[u8], bytes: u16, palette: &[u8], (rows, columns): (u16, u16)) -> Option<String> {
    let width = usize::from(columns) * usize::from(bytes);
    if pixels.is_empty() || pixels.len() != usize::from(rows) * width {
        return None;
    }
    let pitch = width.next_multiple_of(4); // rows end at multiples of four bytes
    let header = HEADERS + u32::try_from(palette.len()).ok()?;
    let size = u32::try_from(pitch * usize::from(rows)).ok()?;
    let mut file = b"BM".to_vec();
    for field in [header + size, 0, header, 40, columns.into(), rows.into()] {
        file.extend(u32::to_le_bytes(field));
    }
    // One plane, bits per pixel, not compressed, no resolution, colours of the palette.
    file.extend([1, 0]);
    file.extend((8 * bytes).to_le_bytes());
    for field in [0, size, 0, 0, (header - HEADERS) / 4, 0] {
        file.extend(u32::to_le_bytes(field));
    }
    file.extend(palette);
    for row in pixels.chunks_exact(width).rev() {
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
        let letters = |bytes: u32| "data:image/bmp;base64,".len() + usize::try_from(bytes).unwrap().div_ceil(3) * 4;
        let uri = grey(&[0, 255, 128, 1, 2, 3], 2, 3).unwrap();
        assert_eq!(uri.len(), letters(HEADERS + 4 * 256 + 2 * 4));
        assert_eq!((grey(&[0], 2, 3), grey(&[], 0, 3)), (None, None));
        let uri = color(&[[255, 0, 0]; 6], 2, 3).unwrap();
        assert_eq!(uri.len(), letters(HEADERS + 2 * 12));
    }
}

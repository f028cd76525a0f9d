// Pictures with a palette: pages are drawn with few colours, and what is committed stays small.
import { crc32, deflateSync, inflateSync } from "node:zlib";

const most = 256;
const parts = [16, 8, 0]; // red, green, blue

/** The same picture with the 256 colours that are there most often; any other becomes the nearest of them. */
export function small(png) {
  const { width, height, pixels } = decoded(png);
  const counts = new Map();
  for (const pixel of pixels) counts.set(pixel, (counts.get(pixel) ?? 0) + 1);
  const often = [...counts.keys()].sort((a, b) => counts.get(b) - counts.get(a));
  const palette = often.slice(0, most);
  const place = new Map(often.map((pixel) => [pixel, nearest(palette, pixel)]));
  return encoded(width, height, palette, Array.from(pixels, (pixel) => place.get(pixel)));
}

/** Where the colour stands in the palette that differs least. */
function nearest(palette, pixel) {
  const distances = palette.map((colour) => parts.reduce((sum, bits) => sum + (((colour >> bits) & 0xff) - ((pixel >> bits) & 0xff)) ** 2, 0));
  return distances.indexOf(Math.min(...distances));
}

/** Reads what browsers write: 8 bits for each of three or four channels, not interlaced. */
function decoded(png) {
  const chunks = new Map();
  for (let at = 8; at < png.length; at += 12 + png.readUInt32BE(at)) {
    const name = png.toString("latin1", at + 4, at + 8);
    chunks.set(name, [...(chunks.get(name) ?? []), png.subarray(at + 8, at + 8 + png.readUInt32BE(at))]);
  }
  const [head] = chunks.get("IHDR");
  const [width, height, channels] = [head.readUInt32BE(0), head.readUInt32BE(4), head[9] === 6 ? 4 : 3];
  const bytes = inflateSync(Buffer.concat(chunks.get("IDAT")));
  const line = width * channels;
  const pixels = new Uint32Array(width * height);
  let above = new Uint8Array(line);
  for (let y = 0; y < height; y++) {
    const from = y * (line + 1);
    const row = bytes.subarray(from + 1, from + 1 + line);
    for (let x = 0; x < line; x++) {
      const left = x < channels ? 0 : row[x - channels];
      row[x] += guess(bytes[from], left, above[x], x < channels ? 0 : above[x - channels]);
    }
    for (let x = 0; x < width; x++) pixels[y * width + x] = row.readUIntBE(x * channels, 3);
    above = row;
  }
  return { width, height, pixels };
}

/** What a filter of PNG expects from the neighbours. */
function guess(filter, left, up, corner) {
  if (filter === 4) {
    const [a, b, c] = [Math.abs(up - corner), Math.abs(left - corner), Math.abs(left + up - 2 * corner)];
    return a <= b && a <= c ? left : b <= c ? up : corner;
  }
  return [0, left, up, (left + up) >> 1][filter];
}

function encoded(width, height, palette, places) {
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width, 0);
  head.writeUInt32BE(height, 4);
  head.set([8, 3], 8); // 8 bits, with a palette
  const rows = Buffer.alloc((width + 1) * height);
  for (let y = 0; y < height; y++) rows.set(places.slice(y * width, (y + 1) * width), y * (width + 1) + 1);
  const colours = Buffer.from(palette.flatMap((pixel) => parts.map((bits) => (pixel >> bits) & 0xff)));
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  return Buffer.concat([signature, part("IHDR", head), part("PLTE", colours), part("IDAT", deflateSync(rows, { level: 9 })), part("IEND", Buffer.alloc(0))]);
}

function part(name, bytes) {
  const named = Buffer.concat([Buffer.from(name, "latin1"), bytes]);
  const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(bytes.length);
  sum.writeUInt32BE(crc32(named));
  return Buffer.concat([length, named, sum]);
}

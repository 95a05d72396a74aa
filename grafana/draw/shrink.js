// The picture's pixels as indices of at most 256 colours: the most frequent of those that differ visibly, and the others
// as the nearest of them.
async (picture) => {
  const visible = 60; // the square of a distance
  const image = await createImageBitmap(await (await fetch(`data:image/png;base64,${picture}`)).blob());
  const context = new OffscreenCanvas(image.width, image.height).getContext("2d");
  context.drawImage(image, 0, 0);
  const pixels = context.getImageData(0, 0, image.width, image.height).data;
  const color = (at) => (pixels[at] << 16) | (pixels[at + 1] << 8) | pixels[at + 2];
  const counts = new Map();
  for (let at = 0; at < pixels.length; at += 4) counts.set(color(at), (counts.get(color(at)) ?? 0) + 1);
  const frequent = [...counts].sort((a, b) => b[1] - a[1]).map(([each]) => each);
  const part = (each, shift) => (each >> shift) & 255;
  const distance = (a, b) => [16, 8, 0].reduce((sum, shift) => sum + (part(a, shift) - part(b, shift)) ** 2, 0);
  const palette = [];
  const indices = new Map();
  for (const each of frequent) {
    let nearest = 0;
    for (let at = 1; at < palette.length; at++) {
      if (distance(each, palette[at]) < distance(each, palette[nearest])) nearest = at;
    }
    const isNew = palette.length === 0 || (palette.length < 256 && distance(each, palette[nearest]) > visible);
    indices.set(each, isNew ? palette.push(each) - 1 : nearest);
  }
  const bytes = new Uint8Array(pixels.length / 4);
  for (let at = 0; at < bytes.length; at++) bytes[at] = indices.get(color(4 * at));
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return { width: image.width, height: image.height, palette, indices: btoa(text) };
}

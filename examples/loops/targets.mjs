// Target rows in JavaScript: node examples/loops/targets.mjs URL IMAGE_ID…; a matrix comes as a safetensors file, which is
// 8 bytes with the length of a header, little-endian, the header in JSON, then the tensors at their offsets behind it.

export function tensors(buffer) {
  const start = 8 + Number(new DataView(buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, start - 8)));
  const arrays = { F32: Float32Array, U8: Uint8Array };
  const { __metadata__: metadata, ...entries } = header;
  const found = Object.entries(entries).map(([name, { dtype, shape, data_offsets: [from, to] }]) => {
    if (!(dtype in arrays)) throw new Error(`${name} has dtype ${dtype}: ask for float32`);
    return [name, { shape, values: new arrays[dtype](buffer.slice(start + from, start + to)) }];
  });
  return { metadata, ...Object.fromEntries(found) };
}

export async function targets(url, imageIds, options = {}) {
  const key = process.env.NBCLIP_SERVICE_KEY;
  const response = await fetch(`${url}/v1/targets`, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      accept: "application/vnd.safetensors",
      ...(key && { authorization: `Bearer ${key}` }),
    },
    body: JSON.stringify({ image_ids: imageIds, ...options }),
  });
  if (!response.ok) throw new Error(`status ${response.status}: ${await response.text()}`);
  return tensors(await response.arrayBuffer());
}

if (process.argv[1] === import.meta.filename) {
  const [url, ...imageIds] = process.argv.slice(2);
  if (!imageIds.length) {
    console.error("usage: node examples/loops/targets.mjs URL IMAGE_ID…");
    process.exit(2);
  }
  const { targets: rows, has_knowledge: known, metadata } = await targets(url, imageIds);
  console.log(JSON.stringify({ shape: rows.shape, rows: [...rows.values], known: [...known.values], metadata }));
}

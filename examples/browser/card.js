// The card of a segx file, read from the bytes of the ONNX file: onnxruntime-web shows no metadata.
// An ONNX file is one protobuf message, ModelProto; its field 14 holds entries of a key (1) and a value (2).
const METADATA = 14;

/** The card as an object, or null where the file has none. `bytes` is a Uint8Array of the whole file. */
export function readCard(bytes) {
  const text = new TextDecoder();
  for (const [field, entry] of fields(bytes)) {
    if (field !== METADATA) continue;
    const { 1: key, 2: value } = Object.fromEntries(fields(entry));
    if (text.decode(key) === "segx.card") return JSON.parse(text.decode(value));
  }
  return null;
}

/** Yields [field number, bytes] of each field with a length; the graph is one of them and is stepped over whole. */
function* fields(bytes) {
  let at = 0;
  const number = () => {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = bytes[at++];
      value += (byte & 127) * factor;
      if (!(byte & 128)) return value;
    }
  };
  while (at < bytes.length) {
    const tag = number();
    switch (tag & 7) {
      case 0: number(); break;
      case 1: at += 8; break;
      case 5: at += 4; break;
      case 2: {
        const end = number() + at;
        yield [Math.floor(tag / 8), bytes.subarray(at, end)];
        at = end;
        break;
      }
      default: throw new Error("This is no ONNX file.");
    }
  }
}

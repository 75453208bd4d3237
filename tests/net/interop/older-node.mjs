// js-libp2p 3 asks for Node 22; this is what it uses of it that Node 20 lacks.
Promise.withResolvers ??= function withResolvers () {
  const parts = {}
  parts.promise = new this((resolve, reject) => Object.assign(parts, { resolve, reject }))
  return parts
}

// A js-libp2p node that gossips. Arguments: seed (hex), multiaddr to dial, topic.
// Lines on stdin: "<size> <byte>" publishes that many of that byte. Lines on stdout are JSON events.
import { createHash } from 'node:crypto'
import { createInterface } from 'node:readline'
import { generateKeyPairFromSeed } from '@libp2p/crypto/keys'
import { gossipsub } from '@libp2p/gossipsub'
import { identify } from '@libp2p/identify'
import { noise } from '@libp2p/noise'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'

const [seed, address, topic] = process.argv.slice(2)
const say = (event) => process.stdout.write(JSON.stringify(event) + '\n')
const digest = (data) => createHash('sha256').update(data).digest()

const node = await createLibp2p({
  privateKey: await generateKeyPairFromSeed('Ed25519', Buffer.from(seed, 'hex')),
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  services: {
    identify: identify(),
    pubsub: gossipsub({ globalSignaturePolicy: 'StrictSign', msgIdFn: (message) => digest(message.data) })
  }
})

const { pubsub } = node.services
pubsub.addEventListener('message', ({ detail: message }) => {
  say({ event: 'message', size: message.data.length, digest: digest(message.data).toString('hex'), from: `${message.from}` })
})
pubsub.addEventListener('gossipsub:graft', ({ detail }) => say({ event: 'graft', peer: `${detail.peerId}` }))
pubsub.subscribe(topic)
await node.dial(multiaddr(address))
say({ event: 'connected', id: `${node.peerId}` })

for await (const line of createInterface({ input: process.stdin })) {
  const [size, byte] = line.split(' ').map(Number)
  const { recipients } = await pubsub.publish(topic, new Uint8Array(size).fill(byte))
  say({ event: 'published', recipients: recipients.length })
}
await node.stop()

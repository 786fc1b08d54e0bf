// Uploads a file by tus-js-client as its users do, and says on one line what happened.
//
// node upload.cjs MODULES FILE ENDPOINT MEMORY [CHUNK_BYTES]
//
// MODULES is the node_modules folder; MEMORY a file that keeps the upload's address, so that
// another run goes on where this one was killed. Without CHUNK_BYTES all goes in one request.

const fs = require('node:fs')
const path = require('node:path')

const [modules, file, endpoint, memory, chunkBytes] = process.argv.slice(2)
const tus = require(path.join(modules, 'tus-js-client'))

const exchanges = []
let video = null

const upload = new tus.Upload(fs.createReadStream(file), {
  endpoint,
  uploadUrl: fs.existsSync(memory) ? fs.readFileSync(memory, 'utf8') : null,
  chunkSize: chunkBytes ? Number(chunkBytes) : Infinity,
  retryDelays: new Array(60).fill(500),
  metadata: { filename: path.basename(file), filetype: 'video/mp4', camera: 'dock' },
  onUploadUrlAvailable: () => fs.writeFileSync(memory, upload.url),
  onAfterResponse: (request, response) => {
    exchanges.push([request.getMethod(), response.getStatus()])
    video = response.getHeader('Kinetag-Video') || video
  },
  onError: (error) => {
    console.error(String(error))
    process.exit(1)
  },
  onSuccess: () => console.log(JSON.stringify({ url: upload.url, video, exchanges })),
})
upload.start()

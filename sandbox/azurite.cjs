// Loaded before Azurite: it listens on sockets it was given, not on ports that another process may have taken meanwhile.
'use strict'
const { Server } = require('node:net')

const given = JSON.parse(process.env.AZURITE_SOCKETS) // descriptors by port
const { listen } = Server.prototype

Server.prototype.listen = function (port, host, ready) {
  return listen.call(this, { fd: given[port] }, ready)
}

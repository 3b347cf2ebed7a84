// express-oauth2-jwt-bearer, as its README sets it up: bearer tokens and DPoP are both on.
import express from 'express'
import { auth } from 'express-oauth2-jwt-bearer'

const { ISSUER, AUDIENCE, PORT } = process.env
const app = express()
app.get('/bare', (req, res) => {
  res.send('ok')
})
app.get('/guarded', auth({ issuerBaseURL: ISSUER, audience: AUDIENCE, tokenSigningAlg: 'ES256' }), (req, res) => {
  res.send('ok')
})
app.listen(Number(PORT), '127.0.0.1')

-- The action "guard" asks the forwardauth.Handler at the URL in the environment's GUARD about a request. It needs HAProxy 2.6.
local url = os.getenv("GUARD")

-- Fields of the connection and of the body, which the subrequest has none of.
local own = { ["host"] = 1, ["connection"] = 1, ["content-length"] = 1, ["transfer-encoding"] = 1, ["te"] = 1, ["trailer"] = 1,
	["expect"] = 1, ["upgrade"] = 1, ["keep-alive"] = 1, ["proxy-connection"] = 1, ["http2-settings"] = 1 }

local told = { "x-auth-outcome", "x-auth-issuer", "x-auth-subject", "x-auth-client", "x-auth-scope", "x-auth-binding", "x-auth-assertion" }

-- What of an answer is not the client's business.
local kept = { ["connection"] = 1, ["content-length"] = 1, ["transfer-encoding"] = 1, ["date"] = 1, ["keep-alive"] = 1 }
for _, name in ipairs(told) do kept[name] = 1 end

local function list(values)
	local result = {}
	for i = 0, #values do result[#result + 1] = values[i] end
	return result
end

local function refuse(txn, status, headers, body)
	local reply = txn:reply({ status = status })
	for name, values in pairs(headers or {}) do
		if not kept[name] then
			for _, value in ipairs(list(values)) do reply:add_header(name, value) end
		end
	end
	if body then reply:set_body(body) end
	txn:done(reply)
end

core.register_action("guard", { "http-req" }, function(txn)
	local headers = {}
	for name, values in pairs(txn.http:req_get_headers()) do
		if not own[name] then headers[name] = list(values) end
	end
	headers["x-original-method"] = { txn.f:method() }
	headers["x-original-uri"] = { txn.f:pathq() }
	headers["x-original-host"] = { txn.f:req_fhdr("host") }
	local length, encoding = txn.f:req_fhdr("content-length"), txn.f:req_fhdr("transfer-encoding")
	headers["x-original-body"] = { (not encoding and (not length or length == "0")) and "none" or "some" }

	local answer = core.httpclient():get({ url = url, headers = headers, timeout = 10000 })
	if not answer or not answer.status or answer.status == 0 then return refuse(txn, 503) end
	if answer.status ~= 200 then return refuse(txn, answer.status, answer.headers, answer.body) end

	for _, name in ipairs(told) do
		local values = answer.headers[name]
		if values and values[0] and values[0] ~= "" then
			txn.http:req_set_header(name, values[0])
		else
			txn.http:req_del_header(name)
		end
	end
	local nonce, cookie = answer.headers["dpop-nonce"], answer.headers["set-cookie"]
	if nonce then txn:set_var("txn.guard_nonce", nonce[0]) end
	if cookie then txn:set_var("txn.guard_cookie", cookie[0]) end
	txn:set_var("txn.guard_passed", true)
end, 0)

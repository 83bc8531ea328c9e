-- Hooks for Lmod by which the module xalt-wrap is unloaded when a tool is loaded
-- that dislikes wrappers, and loaded again when the last such tool is unloaded.
-- In the site's SitePackage.lua:
--
--    local hook  = require("Hook")
--    local wrap  = dofile("/usr/share/xaltpipe/xalt_wrap_hooks.lua")
--    hook.register("startup", wrap.startup)
--    hook.register("load",    wrap.load)
--    hook.register("unload",  wrap.unload)
--
-- A site that has such hooks of its own calls these from them, with the same
-- arguments.

local wrap = {}

-- Names of modules, without versions, as Lua patterns.
wrap.tools = { "totalview", "ddt", "forge", "arm%-forge", "linaro%-forge", "linaro_forge", "map", "valgrind", "gdb", "gdb4hpc", "stat", "cray%-stat", "atp" }

-- The module that goes and comes.
wrap.name = "xalt-wrap"

-- Says, while it is away, that it is to come back.
local away = "XALT_WRAP_AWAY"

local MName = require("MName")
local command

local function isTool(fullName)
   for _, pattern in ipairs(wrap.tools) do
      if fullName:find("^" .. pattern .. "$") or fullName:find("^" .. pattern .. "/") then return true end
   end
   return false
end

-- positive calls f as while a module is loaded: within a module that is being
-- unloaded, Lmod turns every command into its contrary.
local function positive(f)
   local now = mcp
   mcp = MCP
   f()
   mcp = now
end

local function anyTool()
   for _, m in ipairs(loaded_modules()) do
      if isTool(m.fullName) then return true end
   end
   return false
end

local function goAway()
   unload(wrap.name)
   setenv(away, "1")
end

function wrap.startup(name) command = name end

function wrap.load(t)
   local loadsWrap = t.modFullName:find("^" .. wrap.name:gsub("%-", "%%-") .. "/") or t.modFullName == wrap.name
   if isTool(t.modFullName) and isloaded(wrap.name) or loadsWrap and anyTool() then goAway() end
end

function wrap.unload(t)
   if not isTool(t.modFullName) or not os.getenv(away) then return end
   if command == "purge" or command == "reset" or command == "restore" then
      positive(function() unsetenv(away) end) -- what is to be loaded then is said there
   elseif not anyTool() then
      positive(function()
         unsetenv(away)
         mcp:load({ MName:new("load", wrap.name) })
      end)
   end
end

return wrap

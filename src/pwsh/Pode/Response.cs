using System;
using System.Collections;
using System.Collections.Generic;
using System.Collections.Specialized;
using System.Linq;
using System.Management.Automation;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;

namespace SecretBridge.Pode;

/// <summary>What a request is answered with: as the block left it in `$WebEvent`, or as an error page.</summary>
public sealed class Response
{
    private static readonly Regex Charset = new("""charset\s*=\s*"?(?<name>[^"\s;]+)""", RegexOptions.IgnoreCase | RegexOptions.CultureInvariant);
    private static readonly Regex HeaderName = new("^[A-Za-z0-9!#$%&'*+.^_`|~-]+\\z", RegexOptions.CultureInvariant);

    private readonly List<(string Name, string Value)> _headers = [];
    private int _status = 200;
    private string? _description;
    private byte[] _body = [];
    private IDictionary? _page;
    private OrderedDictionary? _failed;

    /// <summary>A body that is not what its type says.</summary>
    internal static Response BadRequest() => new() { _status = 400, _page = PlainJson.NewObject() };

    /// <summary>What the block left; throws where it cannot be sent.</summary>
    internal static Response Of(Hashtable current)
    {
        IDictionary left = Left(current);
        Response response = new() { _status = LanguagePrimitives.ConvertTo<int>(left["StatusCode"]) };
        response.AddHeaders(current);
        if (PlainJson.Bare(left["Page"]) is IDictionary page)
        {
            response._page = page;
            return response;
        }
        string type = PlainJson.Text(left["ContentType"]);
        if (type.Length > 0)
        {
            CheckHeader("Content-Type", type);
            response._headers.Add(("Content-Type", type));
        }
        if (PlainJson.Text(left["StatusDescription"]) is { Length: > 0 } description)
        {
            response._description = description;
        }
        response._body = left["Body"] is null ? [] : LanguagePrimitives.ConvertTo<byte[]>(left["Body"]);
        return response;
    }

    /// <summary>A block that threw: 500, and the fault for the log.</summary>
    internal static Response Failed(ErrorRecord record, Hashtable? current)
    {
        OrderedDictionary fault = ScriptFaults.Of(record);
        OrderedDictionary page = PlainJson.NewObject();
        page["exception"] = PageException(record, fault);
        Response response = new() { _status = 500, _page = page, _failed = fault };
        try
        {
            // What was set before the error still stands, unless it is what was wrong.
            if (current is not null)
            {
                response.AddHeaders(current);
            }
        }
        catch (Exception exception) when (exception is RuntimeException or InvalidCastException)
        {
            response._headers.Clear();
        }
        return response;
    }

    /// <summary>What a page may show: of the stack the script's own frames, and no secret that the request has read.</summary>
    public static OrderedDictionary PageException(ErrorRecord record, OrderedDictionary fault)
    {
        IEnumerable<string> frames = (record.ScriptStackTrace ?? "").Split(Environment.NewLine).Where(frame => Own.Folder.Length == 0 || !frame.Contains(Own.Folder, StringComparison.Ordinal));
        OrderedDictionary shown = PlainJson.NewObject();
        shown["message"] = PlainJson.Text(fault["message"]);
        shown["stackTrace"] = Redaction.Hide(string.Join(Environment.NewLine, frames));
        shown["line"] = fault["position"] is IDictionary position ? $"At {position["script"]}:{position["line"]}" : "";
        shown["category"] = Redaction.Hide(record.CategoryInfo.ToString());
        return shown;
    }

    /// <summary>Sets the answer's text in the charset that its type names, which is UTF-8 where it names none.</summary>
    public static void SetText(string text, string contentType, int status)
    {
        Match named = contentType.Contains("charset", StringComparison.OrdinalIgnoreCase) ? Charset.Match(contentType) : Match.Empty;
        Encoding encoding = named.Success ? Encoding.GetEncoding(named.Groups["name"].Value) : Encoding.UTF8;
        SetBody(encoding.GetBytes(text), contentType, status);
    }

    /// <summary>Sets the answer's bytes. An error page that was asked for stays the answer.</summary>
    public static void SetBody(byte[] bytes, string contentType, int status)
    {
        IDictionary left = Left(WebEvent.Required);
        if (status != 0)
        {
            left["StatusCode"] = status;
        }
        if (left["Page"] is not null)
        {
            return;
        }
        left["Body"] = bytes;
        // An empty answer has no type.
        if (bytes.Length > 0)
        {
            left["ContentType"] = contentType.Contains("charset", StringComparison.OrdinalIgnoreCase) ? contentType : $"{contentType}; charset=utf-8";
        }
    }

    /// <summary>A line end in a header would start another one.</summary>
    public static void CheckHeader(string name, string value)
    {
        if (!HeaderName.IsMatch(name))
        {
            throw new BridgeException("HeaderName", $"'{name}' is no name of a header");
        }
        if (value.AsSpan().IndexOfAny('\0', '\r', '\n') >= 0)
        {
            throw new BridgeException("HeaderValue", $"the value of the header '{name}' has a line end in it");
        }
    }

    /// <summary>The response's table of a request.</summary>
    internal static IDictionary Left(Hashtable current) =>
        PlainJson.Bare(current["Response"]) as IDictionary ?? throw new BridgeException("NoWebEvent", "$WebEvent.Response is no table any more");

    /// <summary>Writes it, as docs/script-protocol.md has it.</summary>
    internal void Write(Utf8JsonWriter writer)
    {
        writer.WriteStartObject();
        writer.WriteNumber("status", _status);
        writer.WriteStartArray("headers");
        foreach ((string name, string value) in _headers)
        {
            writer.WriteStartArray();
            writer.WriteStringValue(name);
            writer.WriteStringValue(value);
            writer.WriteEndArray();
        }
        writer.WriteEndArray();
        if (_page is not null)
        {
            writer.WritePropertyName("page");
            PlainJson.Write(writer, _page);
        }
        else
        {
            if (_description is not null)
            {
                writer.WriteString("description", _description);
            }
            writer.WriteBase64String("body", _body);
        }
        if (_failed is not null)
        {
            writer.WritePropertyName("failed");
            PlainJson.Write(writer, _failed);
        }
        writer.WriteEndObject();
    }

    // The headers and cookies that the block has set.
    private void AddHeaders(Hashtable current)
    {
        IDictionary left = Left(current);
        bool hasType = PlainJson.Text(left["ContentType"]).Length > 0;
        foreach (DictionaryEntry entry in PlainJson.Bare(left["Headers"]) as IDictionary ?? PlainJson.NewObject())
        {
            string name = PlainJson.Text(entry.Key);
            if (hasType && name.Equals("Content-Type", StringComparison.OrdinalIgnoreCase))
            {
                continue;
            }
            foreach (object? value in PlainJson.Bare(entry.Value) is object?[] list ? list : [entry.Value])
            {
                string text = PlainJson.Text(value);
                CheckHeader(name, text);
                _headers.Add((name, text));
            }
        }
        if (PlainJson.Bare(current["PendingCookies"]) is IDictionary pending)
        {
            foreach (object? cookie in pending.Values)
            {
                _headers.Add(("Set-Cookie", Cookies.Write((IDictionary)PlainJson.Bare(cookie)!)));
            }
        }
    }
}
